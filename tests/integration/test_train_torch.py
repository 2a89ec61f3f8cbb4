"""The engine torch: equal inputs give equal weights, graphs say what torch says, and a night that is killed goes on."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tests.fakes.training_window import given, rows_of

from nightshift.errors import DataError, ModelError
from nightshift.model.graph import build_graph
from nightshift.model.parity import compare
from nightshift.model.scores import REFERENCE, from_column
from nightshift.model.session import Scorer
from nightshift.spec.torch_params import DEFAULTS
from nightshift.spec.values import Task
from nightshift.stage import StageIO, StageResult
from nightshift.storage.crash_points import VARIABLE
from nightshift.train import run
from nightshift.train.checkpoints import Checkpoints
from nightshift.train.network import Network, Recipe, learn
from nightshift.train.ranks import Alone
from nightshift.train.threshold import Ranking, max_f1
from nightshift.transforms import Transforms
from nightshift.transforms.columns import NumericColumn

pytestmark = pytest.mark.torch

ROWS = 4_000
PARAMS = {"epochs": 4, "hidden_width": 32, "dropout": 0.1, "learning_rate": 0.01}
CHILD = """
import json, logging, sys
from pathlib import Path
from nightshift.plan import Plan
from nightshift.stage import StageIO
from nightshift.storage import Ref, Store
from nightshift.train import run
logging.basicConfig(level=logging.INFO, stream=sys.stdout)
folder = Path(sys.argv[1])
plan = Plan.from_json((folder / "plan.json").read_bytes())
result = run(plan, StageIO(Store.of(plan), {"preprocess": Ref(**json.loads(sys.argv[2]))}, folder / "scratch"))
print(result.summary["model_digest"])
"""
RANK = "import sys; from nightshift.train.engines.torch_spark import work; work(sys.argv[1])"


def published(io: StageIO, result: StageResult, path: str) -> bytes:
    assert result.ref is not None
    return io.store.read(io.store.resolve(result.ref), path)


def objects_of(io: StageIO, words: str) -> list[str]:
    return [stored.name for stored in io.store.objects.walk("train") if words in stored.name]


def vectors_of(rows: pa.Table) -> np.ndarray:
    return np.array(rows.column("__features").to_pylist(), np.float32)


# -- one process ------------------------------------------------------------------------------------------


def test_the_same_window_gives_the_same_bytes_from_any_layout_of_files(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "nightshift")
    rows = rows_of(ROWS)
    nights = [given(tmp_path / str(files), rows, files=files, engine="torch", params=PARAMS) for files in (1, 3)]
    results = [run(plan, io) for plan, io in nights]

    (_, io), result = nights[0], results[0]
    assert result.summary["model_digest"] == results[1].summary["model_digest"]
    assert published(*[io, result], "network.pt") == published(nights[1][1], results[1], "network.pt")
    assert not objects_of(io, "checkpoint")
    assert [f"epoch {epoch}/4 logloss 0." in caplog.text for epoch in (1, 2, 3, 4)] == [True] * 4

    card = json.loads(published(io, result, "model.json"))
    assert (card["engine"], card["params"]) == ("torch", {**DEFAULTS, **PARAMS})
    assert "importances" not in card
    manifest = io.store.resolve(result.ref)  # type: ignore[arg-type]
    reference = from_column(io.store.read_table(manifest, "reference").column(REFERENCE))
    scorer = Scorer.load(published(io, result, "graph.onnx"), digest=card["graph_sha256"])
    compare(reference, scorer.score(rows.slice(0, 250)), threshold=card["threshold"]).require()
    assert 0.1 < card["threshold"] < 0.9
    assert run(*nights[0]).reused


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_graphs_say_what_torch_says(task: Task) -> None:
    """Over rows with gaps and the largest numbers of float32, and with labels far from 0."""
    random = np.random.default_rng(7)
    vectors = (random.normal(size=(3_000, 3)) * [1, 1e4, 0] + [0, 5e5, 3]).astype(np.float32)
    vectors[random.random(vectors.shape) < 0.1] = np.nan
    signal = np.nan_to_num(vectors[:, 0]) + np.nan_to_num(vectors[:, 1] - 5e5) / 1e4
    labels = np.digitize(signal, [-1, 1]).astype(np.int8) if task == "multiclass" else (100 + 150 * signal)
    classes = ("a", "b", "c") if task == "multiclass" else ()
    recipe = Recipe(task, len(classes), {**DEFAULTS, **PARAMS, "epochs": 10}, 3, len(vectors))
    network = learn(recipe, vectors, labels.astype(np.float32), ranks=Alone(), threads=1, checkpoints=None)

    far = random.choice(np.array([np.nan, 0, 5e5, 1e30, -3.4e38, 3], np.float32), size=(500, 3))
    asked = np.concatenate([vectors, far])
    names = ("near", "far", "constant")
    transforms = Transforms(tuple(NumericColumn(name) for name in names), ())
    scorer = Scorer.load(build_graph(transforms, network.head(), task=task, classes=classes))
    scores = network.scores(asked)
    parity = compare(scores, scorer.score(pa.table(dict(zip(names, asked.T.copy(), strict=True)))), task=task)
    assert parity.max_diff <= 1e-6
    assert (Network.from_bytes(network.to_bytes()).scores(asked) == scores).all()
    told = scores[: len(labels)]
    learned = (told.argmax(1) == labels).mean() if task == "multiclass" else np.corrcoef(told, labels)[0, 1] ** 2
    assert learned > 0.85


def test_a_loss_that_is_no_number_is_refused() -> None:
    vectors = np.random.default_rng(1).normal(size=(400, 2)).astype(np.float32)
    labels = np.where(vectors[:, 0] > 2, np.inf, vectors[:, 0])
    recipe = Recipe("regression", 0, DEFAULTS, 0, 400)
    with pytest.raises(DataError, match=r"the network's loss is (nan|inf) after epoch 1: training ran away"):
        learn(recipe, vectors, labels, ranks=Alone(), threads=1, checkpoints=None)


def test_bytes_that_are_no_network_are_refused() -> None:
    import pickle

    for data in (b"", b"PK", pickle.dumps(print, protocol=2)):
        with pytest.raises(ModelError, match="a network cannot be read"):
            Network.from_bytes(data)


def test_a_night_that_is_killed_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    plan, io = given(tmp_path, rows_of(ROWS), engine="torch", params=PARAMS)
    (tmp_path / "plan.json").write_bytes(plan.to_json())
    command = [sys.executable, "-c", CHILD, str(tmp_path), json.dumps(asdict(io.upstream["preprocess"]))]

    killed = subprocess.run(command, env={**os.environ, VARIABLE: "train:after_checkpoint"}, check=False, timeout=240)
    assert killed.returncode == -9
    assert len(objects_of(io, "checkpoint")) == 1
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=240)
    assert "train: going on after epoch 1, from a checkpoint" in done.stdout
    assert "epoch 1/4" not in done.stdout
    assert not objects_of(io, "checkpoint")

    undisturbed = run(*given(tmp_path / "undisturbed", rows_of(ROWS), engine="torch", params=PARAMS))
    assert done.stdout.splitlines()[-1] == undisturbed.summary["model_digest"]


def test_a_checkpoint_of_something_else_is_not_taken_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Two trainings below one stage key, as the trials of a search are, never meet."""
    caplog.set_level(logging.INFO, "nightshift")
    _, io = given(tmp_path, rows_of(100))
    place = Checkpoints.of(io.store, "2024-03-01", "key")
    vectors = np.random.default_rng(1).normal(size=(64, 2)).astype(np.float32)
    labels = (vectors[:, 0] > 0).astype(np.int8)
    recipe = Recipe("binary", 0, {**DEFAULTS, "epochs": 2}, 0, 64)
    first = learn(recipe, vectors, labels, ranks=Alone(), threads=1, checkpoints=place)
    learn(recipe, vectors, 1 - labels, ranks=Alone(), threads=1, checkpoints=place)
    assert "going on" not in caplog.text
    again = learn(recipe, vectors, labels, ranks=Alone(), threads=1, checkpoints=place)
    assert "going on after epoch 2" in caplog.text
    assert again.to_bytes() == first.to_bytes()

    for name in objects_of(io, "checkpoint"):
        io.store.objects.write(name, io.store.objects.read(name)[:100])
    anew = learn(recipe, vectors, labels, ranks=Alone(), threads=1, checkpoints=place)
    assert "beginning anew, for the checkpoint is damaged" in caplog.text
    assert anew.to_bytes() == first.to_bytes()


# -- several processes ------------------------------------------------------------------------------------


@dataclass
class Window:
    """Rows as two ranks are given them, without Spark.

    Attributes:
        io: Where the window is published.
        place: For checkpoints and results.
    """

    io: StageIO
    place: Checkpoints

    @classmethod
    def of(cls, folder: Path) -> Window:
        plan, io = given(folder, rows_of(ROWS), files=3, engine="torch", params=PARAMS)
        return cls(io, Checkpoints.of(io.store, plan.interval.key, "key"))

    def learn(
        self, name: str, environment: Mapping[str, str] | None = None, *, ranks: int = 2, **params: float
    ) -> list[int]:
        """Train, with further variables for rank 0; gives the exit statuses."""
        size = -(-ROWS // 3)
        files = [f"train/part-{number:05d}.parquet" for number in range(3)]
        task = {
            "root": self.io.store.objects.root,
            "given": asdict(self.io.upstream["preprocess"]),
            "width": 7,
            "files": [[files[0], size], [files[1], size], [files[2], ROWS - 2 * size]],
            "recipe": asdict(Recipe("binary", 0, {**DEFAULTS, **PARAMS, **params}, 5, ROWS)),
            "checkpoints": asdict(self.place),
            "result": asdict(self.place),
            "name": name,
        }
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(ranks)}
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", RANK, json.dumps(task)],
                env={**os.environ, **shared, "RANK": str(rank), **((environment or {}) if rank == 0 else {})},
            )
            for rank in range(ranks)
        ]
        try:
            return [process.wait(240) for process in processes]
        finally:
            for process in processes:
                process.kill()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What two ranks learn that nobody disturbs."""
    window = Window.of(tmp_path_factory.mktemp("undisturbed"))
    assert window.learn("result.pt") == [0, 0]
    learned = window.place.read("result.pt")
    assert learned is not None
    return learned


def test_two_ranks_that_are_killed_go_on_from_their_checkpoint(tmp_path: Path, undisturbed: bytes) -> None:
    killed = Window.of(tmp_path)
    statuses = killed.learn("result.pt", {VARIABLE: "train:after_checkpoint"})
    assert statuses[0] == -9
    assert statuses[1] not in (0, -9), "the other rank ends with an error, and does not wait"
    assert killed.place.read("result.pt") is None
    assert killed.learn("result.pt") == [0, 0]
    assert killed.place.read("result.pt") == undisturbed


def test_what_ranks_refuse_comes_back_in_words(tmp_path: Path) -> None:
    """Spark would say no more than that a process failed."""
    window = Window.of(tmp_path)
    assert window.learn("result.pt", ranks=1, learning_rate=1e30) == [0]
    told = json.loads(window.place.read("result.pt") or b"")
    assert re.match(r"the network's loss is (nan|inf) after epoch 1: training ran away", told["message"])
    assert told["hint"] == "lower training.params.learning_rate"


@pytest.mark.jvm
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # Py4J leaves them to the garbage collector
def test_spark_starts_the_ranks(
    spark: object, tmp_path: Path, capfd: pytest.CaptureFixture[str], undisturbed: bytes
) -> None:
    """And gets from them what ranks that were started by hand learn."""
    rows = rows_of(ROWS)
    plan, io = given(tmp_path, rows, files=3, engine="torch", params=PARAMS, workers=2)
    result = run(plan, io)

    assert published(io, result, "network.pt") == undisturbed
    assert "INFO train: train: epoch 4/4 logloss 0." in "".join(capfd.readouterr())
    assert not objects_of(io, "checkpoint")
    probabilities = Network.from_bytes(undisturbed).scores(vectors_of(rows))
    expected = max_f1(Ranking.of(rows.column("__label").to_numpy(), probabilities))
    assert result.summary["threshold"] == pytest.approx(expected, abs=1e-5)

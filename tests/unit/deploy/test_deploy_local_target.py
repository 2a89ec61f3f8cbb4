"""A model must load in a fresh process and reproduce its golden rows, or it does not ship."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.fakes.trained_night import trained_night

from nightshift import evaluate
from nightshift.deploy import fresh_load, infra
from nightshift.deploy.latency import Latency, measure
from nightshift.deploy.target import ModelFiles
from nightshift.deploy.targets import local, target_of
from nightshift.deploy.targets.local import LocalTarget
from nightshift.errors import DataError, InfraCheckFailed
from nightshift.model.session import Scorer
from nightshift.spec.deploy import LatencyBounds

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> ModelFiles:
    root = tmp_path_factory.mktemp("judged")
    night, _ = trained_night(root).run(evaluate)
    graph = night.store.read(night.io.given("train"), "graph.onnx")
    (root / "graph.onnx").write_bytes(graph)
    pq.write_table(night.store.read_table(night.io.given("evaluate"), "golden"), root / "golden.parquet")
    return ModelFiles(root / "graph.onnx", hashlib.sha256(graph).hexdigest(), root / "golden.parquet", 0.4)


def arguments(files: ModelFiles, **changes: object) -> list[str]:
    given = {"model": files.graph, "digest": files.digest, "golden": files.golden, "threshold": files.threshold}
    given |= {"memory_mb": 10**6, **changes}
    return [part for name, value in given.items() for part in (f"--{name.replace('_', '-')}", str(value))]


def test_a_good_model_reproduces_its_golden_rows_in_a_fresh_process(judged: ModelFiles) -> None:
    check = target_of("local").check(judged)
    assert (check.target, check.rows, check.max_diff) == ("local", 50, 0.0)
    assert check.load_seconds > 0
    assert check.peak_mb > 10
    assert check.runtime.startswith("onnxruntime ")


def test_a_model_with_other_bytes_is_not_loaded(judged: ModelFiles, tmp_path: Path) -> None:
    data = bytearray(judged.graph.read_bytes())
    data[len(data) // 2] ^= 1
    changed = tmp_path / "graph.onnx"
    changed.write_bytes(data)
    with pytest.raises(InfraCheckFailed, match=f"but {judged.digest} was recorded") as caught:
        LocalTarget().check(ModelFiles(changed, judged.digest, judged.golden, 0.4))
    assert "the champion stays" in (caught.value.hint or "")


def test_a_process_without_memory_fails_the_check(judged: ModelFiles) -> None:
    with pytest.raises(InfraCheckFailed, match="does not serve from a fresh process with 100 MB") as caught:
        LocalTarget().check(replace(judged, memory_mb=100))
    assert "deploy.memory in the spec" in (caught.value.hint or "")


def test_a_process_that_hangs_fails_the_check(judged: ModelFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "TIMEOUT_S", 0.001)
    with pytest.raises(InfraCheckFailed, match=r"did not load and score within 0\.001 s"):
        LocalTarget().check(judged)


def test_a_killed_process_is_named_by_its_signal(judged: ModelFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    killed = subprocess.CompletedProcess([], -9, stdout="", stderr="")
    monkeypatch.setattr(local.subprocess, "run", lambda *given, **options: killed)
    with pytest.raises(InfraCheckFailed, match="killed by signal 9: it said nothing"):
        LocalTarget().check(judged)


def test_the_fresh_process_sees_no_secrets(judged: ModelFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        seen.update(options["env"])  # type: ignore[call-overload]
        return subprocess.CompletedProcess(command, 1, stdout="", stderr="stop")

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setattr(local.subprocess, "run", run)
    with pytest.raises(InfraCheckFailed, match="stop"):
        LocalTarget().check(judged)
    assert "AWS_SECRET_ACCESS_KEY" not in seen


@pytest.fixture
def unlimited(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit would stay on the process of the tests."""
    monkeypatch.setattr(fresh_load.resource, "setrlimit", lambda *given: None)


@pytest.mark.usefixtures("unlimited")
def test_other_scores_than_recorded_are_a_failure(
    judged: ModelFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    golden = pq.read_table(judged.golden)
    scores = golden.column("__score").to_pylist()
    other = golden.drop_columns("__score").append_column("__score", [[scores[0] + 0.01, *scores[1:]]])
    pq.write_table(other, tmp_path / "golden.parquet")
    assert fresh_load.main(arguments(judged, golden=tmp_path / "golden.parquet")) == 66
    assert "1 of 50 rows differ" in capsys.readouterr().err


@pytest.mark.usefixtures("unlimited")
def test_the_same_scores_are_a_success(judged: ModelFiles, capsys: pytest.CaptureFixture[str]) -> None:
    assert fresh_load.main(arguments(judged)) == 0
    assert '"rows": 50' in capsys.readouterr().out


@pytest.mark.usefixtures("unlimited")
def test_running_out_of_memory_is_said(
    judged: ModelFiles, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*given: object, **options: object) -> None:
        raise MemoryError

    monkeypatch.setattr(fresh_load, "reproduce", exhausted)
    assert fresh_load.main(arguments(judged, memory_mb=7)) == 66
    assert "more than 7 MB" in capsys.readouterr().err


def test_single_rows_are_timed_in_turn_with_the_champion(judged: ModelFiles) -> None:
    timed = replace(judged, calls=20, champion=judged.graph, champion_digest=judged.digest)
    latency = LocalTarget().check(timed).latency
    assert latency is not None
    assert latency.calls == 20
    assert 0 < latency.p50_ms <= latency.p95_ms
    assert latency.champion_p50_ms is not None
    alone = LocalTarget().check(replace(judged, calls=20)).latency
    assert alone is not None
    assert alone.champion_p50_ms is None
    assert LocalTarget().check(judged).latency is None


def test_a_champion_that_cannot_score_these_rows_is_not_timed(judged: ModelFiles) -> None:
    scorer = Scorer.load(judged.graph.read_bytes())
    rows = pq.read_table(judged.golden)
    found = measure(scorer, StrangeChampion(), rows, calls=3)  # type: ignore[arg-type]
    assert (found.calls, found.champion_p50_ms) == (3, None)


class StrangeChampion:
    def score(self, rows: object) -> None:
        raise DataError("it wants a column that is not there")


@pytest.mark.parametrize(
    ("latency", "failed"),
    [
        (Latency(500, 0.1, 49.0, 0.1), []),
        (Latency(500, 0.15, 0.2, 0.1), []),
        (Latency(500, 0.16, 0.2, 0.1), ["latency_champion"]),
        (Latency(500, 0.1, 51.0, None), ["latency"]),
        (Latency(500, 9.0, 51.0, 1.0), ["latency", "latency_champion"]),
    ],
)
def test_too_slow_is_over_the_budget_or_half_as_slow_again_as_the_champion(latency: Latency, failed: list[str]) -> None:
    checks = infra._speed(latency, LatencyBounds())
    assert [check.name for check in checks if not check.passed] == failed


def test_the_spec_says_how_slow_is_too_slow() -> None:
    latency = Latency(500, 0.29, 51.0, 0.1)
    wide = LatencyBounds.model_validate({"budget": "51ms", "versus_champion": 3})
    assert all(check.passed for check in infra._speed(latency, wide))
    tight = LatencyBounds.model_validate({"budget": "50ms", "versus_champion": 2.8})
    assert [check.bound for check in infra._speed(latency, tight) if not check.passed] == [50.0, 0.28]


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def skops_archive(payload: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("schema.json", '{"__class__": "mkdir", "__module__": "posix", "__loader__": "FunctionNode"}')
        archive.writestr("0.pkl", payload)
    return made.getvalue()


@pytest.mark.parametrize("kind", ["pickle", "skops", "loader_module"])
def test_nothing_that_runs_code_on_load_is_loaded(judged: ModelFiles, tmp_path: Path, kind: str) -> None:
    exploded = tmp_path / "exploded"
    payload = pickle.dumps(Bomb(exploded))
    forged = {
        "pickle": payload,
        "skops": skops_archive(payload),
        "loader_module": b"flavors:\n  python_function:\n    loader_module: os\n    data: model.pkl\n",
    }[kind]
    graph = tmp_path / "graph.onnx"
    graph.write_bytes(forged)
    with pytest.raises(InfraCheckFailed, match="does not serve from a fresh process"):
        LocalTarget().check(replace(judged, graph=graph, digest=hashlib.sha256(forged).hexdigest()))
    assert not exploded.exists()

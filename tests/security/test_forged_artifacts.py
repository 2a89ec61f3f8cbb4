"""Nothing that can run code, or read other files, is loaded: by no way in, whatever the digests say.

Who can write what a training job writes can also make every digest right. Then the look before the load is all there
is. Each payload leaves a mark, and is shown to do so when it is loaded by somebody who does not look.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import onnxruntime
import pytest
from tests.fakes.forged import (
    FORGERIES,
    Forgery,
    crowned,
    load_with_mlflow,
    mlflow_files,
    smuggled,
    with_train,
    write_files,
)
from tests.fakes.mlflow_database import mlflow_uri
from tests.fakes.trained_night import FIRST, Night, promote, trained_night

from nightshift import deploy, evaluate, register
from nightshift.cli.main import main
from nightshift.cli.predict import score
from nightshift.deploy import infra
from nightshift.deploy.by_hand import roll_back
from nightshift.deploy.targets.local import LocalTarget
from nightshift.errors import InfraCheckFailed, IntegrityError, ModelError
from nightshift.ledger import Candidate, Ledger
from nightshift.model.booster import load_booster
from nightshift.storage.manifest import content_digest

pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy is deprecated", "ignore::DeprecationWarning:mlflow.*"
)
SECOND = FIRST + timedelta(days=1)
REFUSALS = "not an ONNX file|external data is never loaded|operators of com.example|operators of com.microsoft"
Make = Callable[[bytes, Path], Forgery]


@pytest.fixture(params=list(FORGERIES), ids=lambda name: name.replace(" ", "-"))
def make(request: pytest.FixtureRequest) -> Make:
    return FORGERIES[request.param]


@dataclass(frozen=True)
class Forged:
    """A night whose training result is an attacker's."""

    honest: Night
    night: Night
    forgery: Forgery

    @property
    def candidate(self) -> Candidate:
        night = self.night
        return Candidate(1, self.forgery.digest, night.plan.interval, night.io.upstream["train"], "run-1")


@pytest.fixture
def forged(tmp_path: Path, make: Make) -> Forged:
    night = trained_night(tmp_path)
    (tmp_path / "marks").mkdir()
    forgery = make(night.store.read(night.io.given("train"), "graph.onnx"), tmp_path / "marks" / "went-off")
    return Forged(night, smuggled(night, forgery), forgery)


def test_the_payload_works_where_nobody_looks(forged: Forged, tmp_path: Path) -> None:
    assert not forged.forgery.went_off
    (tmp_path / "unsafe").mkdir()
    forged.forgery.load_unsafely(tmp_path / "unsafe")
    assert forged.forgery.went_off


# -- the stages ------------------------------------------------------------------------------------------------------


def test_evaluate_does_not_load_it_as_challenger(forged: Forged) -> None:
    with pytest.raises(InfraCheckFailed, match=REFUSALS):
        forged.night.run(evaluate)
    assert not forged.forgery.went_off


def test_evaluate_does_not_load_it_as_champion(forged: Forged, tmp_path: Path) -> None:
    promote(forged.night, 1)
    with pytest.raises(InfraCheckFailed, match=REFUSALS):
        trained_night(tmp_path, SECOND).run(evaluate)
    assert not forged.forgery.went_off


def test_evaluate_does_not_load_it_as_anchor(forged: Forged, tmp_path: Path) -> None:
    """An anchor never fails a night; it is said that it could not be judged."""
    promote(forged.night, 1)
    promote(trained_night(tmp_path, FIRST + timedelta(days=30)), 2)
    night, _ = trained_night(tmp_path, FIRST + timedelta(days=31)).run(evaluate)
    evidence = json.loads(night.store.read(night.io.given("evaluate"), "evaluation.json"))
    assert "cannot be scored" in evidence["champion"]["anchor"]["obstacle"]
    assert not forged.forgery.went_off


def test_register_does_not_load_it(forged: Forged) -> None:
    """Put in place after evaluate has judged another one."""
    judged, _ = forged.honest.run(evaluate)
    with pytest.raises(InfraCheckFailed, match=REFUSALS):
        with_train(judged, forged.night.io.upstream["train"]).run(register)
    assert not forged.forgery.went_off


def test_deploys_fresh_process_does_not_load_it(forged: Forged, tmp_path: Path) -> None:
    judged, _ = forged.honest.run(evaluate)
    with pytest.raises(InfraCheckFailed, match=REFUSALS):
        infra.bless(
            judged.store,
            forged.candidate,
            judged.io.upstream["evaluate"],
            LocalTarget(),
            judged.plan.spec.deploy,
            scratch=tmp_path,
        )
    assert not forged.forgery.went_off


def test_deploys_fresh_process_does_not_time_it_as_champion(forged: Forged, tmp_path: Path) -> None:
    judged, _ = trained_night(tmp_path, SECOND).run(evaluate)
    promote(forged.night, 1)
    digest = judged.io.given("train").file("graph.onnx").sha256
    candidate = Candidate(2, digest, judged.plan.interval, judged.io.upstream["train"], "run-2")
    with pytest.raises(InfraCheckFailed, match=REFUSALS):
        infra.bless(
            judged.store,
            candidate,
            judged.io.upstream["evaluate"],
            LocalTarget(),
            judged.plan.spec.deploy,
            scratch=tmp_path,
        )
    assert not forged.forgery.went_off


# -- what a person runs ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Called:
    """What a command did."""

    code: int
    err: str


@pytest.fixture
def call(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Called]:
    """Run ``nightshift`` on the storage of the nights."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "parcels.yaml").touch()
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "NIGHTSHIFT_MODELS": str(tmp_path / "models"),
        "NIGHTSHIFT_HOME": str(tmp_path / "home"),
        "NIGHTSHIFT_STORAGE": (tmp_path / "store").as_uri(),
        "NIGHTSHIFT_ENV": "test",
        "NIGHTSHIFT_MLFLOW_URI": f"sqlite:///{tmp_path / 'mlflow.db'}",
        "COLUMNS": "400",
    }.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> Called:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        return Called(int(ended.value.code or 0), capsys.readouterr().err)

    return run


ROW = '{"weight": 1, "distance": 2, "lane": "sea"}'


@pytest.mark.parametrize("command", ["predict", "explain-prediction"])
def test_predict_does_not_load_it(forged: Forged, call: Callable[..., Called], command: str) -> None:
    promote(forged.night, 1)
    called = call(command, "parcels", ROW)
    assert called.code == 66
    assert re.search(REFUSALS, called.err), called.err
    assert not forged.forgery.went_off


def test_rollback_does_not_load_it_to_see_its_golden_rows(
    forged: Forged, call: Callable[..., Called], tmp_path: Path
) -> None:
    honest, _ = forged.honest.run(evaluate)
    golden = honest.store.read_table(honest.io.given("evaluate"), "golden")
    crowned(forged.night, golden, 1)
    crowned(trained_night(tmp_path, SECOND), golden, 2)
    called = call("rollback", "parcels", "--to", "1")
    assert called.code == 66
    assert re.search(REFUSALS, called.err), called.err
    assert not forged.forgery.went_off
    champion = Ledger(honest.store).champion()
    assert champion is not None
    assert champion.model_version == 2


# -- what lies in MLflow ---------------------------------------------------------------------------------------------


@pytest.mark.long
def test_the_copy_in_mlflow_is_for_people_and_never_loaded(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody replaces it by a model that runs code: every way in goes on with the bytes in storage."""
    import mlflow

    monkeypatch.chdir(tmp_path)
    mlflow_uri(tmp_path_factory, tmp_path)
    first, _ = trained_night(tmp_path).run(evaluate, register, deploy)
    mark = tmp_path / "went-off"
    copies = [path.parent for path in tmp_path.rglob("MLmodel")]
    assert copies
    for copy in copies:
        shutil.rmtree(copy)
        write_files(copy, mlflow_files(mark))
    _, result = trained_night(tmp_path, SECOND).run(evaluate, register, deploy)
    assert result.status == "succeeded"
    roll_back(Ledger(first.store), to=None, reason="test", by="test", scratch=tmp_path)
    champion = Ledger(first.store).champion()
    assert champion is not None
    assert score(first.store, champion, json.loads(ROW))["model_version"] == 1
    assert not mark.exists()
    load_with_mlflow(copies[0])
    assert mark.exists()
    mlflow.set_tracking_uri(None)


# -- bytes that are not those of the ledger ---------------------------------------------------------------------------


def other_bytes(night: Night, other: bytes) -> None:
    """A good model of somebody else's in the place of the one that was published."""
    night.store.objects.local_path(f"{night.io.given('train').folder}/graph.onnx").write_bytes(other)


def other_manifest(night: Night, other: bytes) -> None:
    """And the manifest says that it must be so."""
    other_bytes(night, other)
    train = night.io.given("train")
    path = night.store.objects.local_path(f"train/{train.interval}/v{train.version:06d}.json")
    was = train.file("graph.onnx")
    files = tuple(
        replace(entry, sha256=hashlib.sha256(other).hexdigest(), size=len(other)) if entry == was else entry
        for entry in train.files
    )
    path.write_bytes(replace(train, files=files, digest=content_digest(files, train.outputs)).to_json())


@pytest.mark.parametrize("change", [other_bytes, other_manifest])
def test_a_good_model_that_is_not_the_promoted_one_is_loaded_by_nobody(
    tmp_path: Path, change: Callable[[Night, bytes], None], call: Callable[..., Called], monkeypatch: pytest.MonkeyPatch
) -> None:
    judged, _ = trained_night(tmp_path).run(evaluate)
    second, _ = trained_night(tmp_path, SECOND).run(evaluate)
    golden = judged.store.read_table(judged.io.given("evaluate"), "golden")
    crowned(judged, golden, 1)
    other = second.store.read(second.io.given("train"), "graph.onnx")
    digest = judged.io.given("train").file("graph.onnx").sha256
    candidate = Candidate(1, digest, judged.plan.interval, judged.io.upstream["train"], "run-1")
    assert call("predict", "parcels", ROW).code == 0
    change(judged, other)

    def never(*given: object, **options: object) -> None:
        raise AssertionError("loaded")

    monkeypatch.setattr(onnxruntime, "InferenceSession", never)
    assert [call(command, "parcels", ROW).code for command in ("predict", "explain-prediction")] == [67, 67]
    with pytest.raises(IntegrityError):
        judged.run(register)
    with pytest.raises(IntegrityError):
        infra.bless(
            judged.store,
            candidate,
            judged.io.upstream["evaluate"],
            LocalTarget(),
            judged.plan.spec.deploy,
            scratch=tmp_path,
        )
    crowned(second, golden, 2)
    assert call("rollback", "parcels", "--to", "1").code == 67


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"not a booster", pickle.dumps({"a": 1}), b"{L" + bytes(50)],
    ids=["empty", "brace", "text", "pickle", "cut"],
)
def test_a_forged_booster_is_an_error_and_no_crash(data: bytes) -> None:
    """xgboost ends the process where it is given nothing."""
    with pytest.raises(ModelError, match="cannot be read"):
        load_booster(data)

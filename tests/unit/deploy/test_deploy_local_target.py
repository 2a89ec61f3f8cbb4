"""A model must load in a fresh process and reproduce its golden rows, or it does not ship."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.fakes.trained_night import trained_night

from nightshift import evaluate
from nightshift.deploy import fresh_load
from nightshift.deploy.target import ModelFiles
from nightshift.deploy.targets import local, target_of
from nightshift.deploy.targets.local import LocalTarget
from nightshift.errors import InfraCheckFailed


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


def test_a_process_without_memory_fails_the_check(judged: ModelFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "MEMORY_MB", 100)
    with pytest.raises(InfraCheckFailed, match="does not serve from a fresh process with 100 MB"):
        LocalTarget().check(judged)


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
    def exhausted(*given: object) -> None:
        raise MemoryError

    monkeypatch.setattr(fresh_load, "reproduce", exhausted)
    assert fresh_load.main(arguments(judged, memory_mb=7)) == 66
    assert "more than 7 MB" in capsys.readouterr().err

"""An engine whose package is an extra: the one spec says that it is missing, and only where that is known."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from click.testing import CliRunner

from nightshift.cli import doctor
from nightshift.cli.main import nightshift
from nightshift.errors import EngineNotInstalled, SpecError
from nightshift.settings import Settings
from nightshift.spec import engine_packages
from nightshift.spec.engine_packages import missing_engine
from nightshift.spec.loader import load_specs
from nightshift.spec.models import ModelSpec

Load = Callable[..., ModelSpec]
ENGINE = ("engine: xgboost\n  params: {n_estimators: 50}", "engine: torch")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Say which of the packages that are looked for this interpreter has."""

    def having(*names: str) -> None:
        def find(name: str) -> ModuleSpec | None:
            return ModuleSpec(name, None) if name in names else None

        monkeypatch.setattr(engine_packages, "find_spec", find)

    return having


def test_a_missing_engine_is_no_error_of_the_spec_but_is_said(
    load: Load, orders: Path, installed: Callable[..., None]
) -> None:
    installed("onnx")
    (orders.parent / "other.sql").write_text((orders.parent / "orders.sql").read_text())
    (orders.parent / "other.yaml").write_text(
        orders.read_text().replace("model: orders", "model: other").replace("orders.sql", "other.sql")
    )
    load(ENGINE)
    loaded = load_specs(orders.parent, check_sql=False)
    assert ([spec.model for spec in loaded.specs], loaded.errors) == (["orders", "other"], ())
    said = [str(missing_engine(spec)) for spec in loaded.specs]
    assert said[0].startswith(
        "orders cannot be trained here: training.engine: the engine torch needs the package torch,"
    )
    assert f"which {sys.executable} does not have.\n  Hint: make torch" in said[0]
    assert said[1] == "None"


def test_what_is_wrong_with_the_spec_itself_comes_first(load: Load, installed: Callable[..., None]) -> None:
    installed("onnx")
    with pytest.raises(SpecError, match="write learning_rate") as raised:
        load((ENGINE[0], "engine: torch\n  params: {lr: 1}"))
    assert not isinstance(raised.value, EngineNotInstalled)


def test_where_it_is_installed_the_spec_is_good(load: Load, installed: Callable[..., None]) -> None:
    installed("onnx", "torch")
    assert missing_engine(load(ENGINE)) is None


def test_a_scheduler_without_the_packages_of_jobs_cannot_know(load: Load, installed: Callable[..., None]) -> None:
    installed()
    assert missing_engine(load(ENGINE)) is None


def test_a_cluster_that_brings_its_packages_is_not_judged_by_this_machine(
    load: Load, installed: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed("onnx")
    monkeypatch.setenv("NIGHTSHIFT_COMPUTE", "emr")
    files = [("uri: data/orders/%F.csv", "uri: 's3://b/%F.csv'"), ("uri: data/shops.csv", "uri: 's3://b/shops.csv'")]
    assert missing_engine(load(ENGINE, *files)) is None
    assert missing_engine(load(ENGINE, *files, ("gates:", "compute: {target: local}\ngates:"))) is not None


@pytest.mark.parametrize(("packages", "missing"), [(["onnx"], True), (["onnx", "torch"], False), ([], False)])
def test_another_interpreter_of_jobs_is_looked_into(
    packages: list[str],
    missing: bool,
    load: Load,
    installed: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    installed("onnx", "torch")
    monkeypatch.setenv("NIGHTSHIFT_PYTHON", str(tmp_path / "venv" / "bin" / "python"))
    for name in packages:
        (tmp_path / "venv" / "lib" / "python3.12" / "site-packages" / name).mkdir(parents=True)
    assert ("venv/bin/python does not have" in str(missing_engine(load(ENGINE)))) is missing


def test_a_job_says_so_before_it_reads_anything(load: Load, installed: Callable[..., None]) -> None:
    installed("onnx", "torch")
    spec = load(ENGINE)
    engine_packages.require_engine(spec)
    installed("onnx")
    with pytest.raises(EngineNotInstalled, match="orders: the engine torch needs the package torch"):
        engine_packages.require_engine(spec)
    engine_packages.require_engine(spec.model_copy(update={"training": type(spec.training)(engine="xgboost")}))


def test_the_doctor_warns_and_is_not_ill(
    load: Load, orders: Path, installed: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed("onnx")
    monkeypatch.setenv("NIGHTSHIFT_MODELS", str(orders.parent))
    load(ENGINE)
    [good, found] = doctor.specs(Settings.from_environment())
    assert (good.state, good.found) == ("ok", "orders")
    assert (found.name, found.state) == ("Model specs", "warning")
    assert found.found.endswith("The others can.")
    assert found.fix.startswith("make torch")


def test_validate_warns_and_exits_with_0(
    load: Load, orders: Path, installed: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed("onnx")
    monkeypatch.setenv("NIGHTSHIFT_MODELS", str(orders.parent))
    load(ENGINE)
    ran = CliRunner().invoke(nightshift, ["validate"])
    assert ran.exit_code == 0, ran.output
    assert "orders cannot be trained here" in ran.output
    assert "Hint: make torch" in ran.output

"""An engine whose package is an extra: the one spec says that it is missing, and only where that is known."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from nightshift.cli import doctor
from nightshift.errors import EngineNotInstalled, SpecError
from nightshift.settings import Settings
from nightshift.spec import engine_packages
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


def test_a_missing_engine_is_an_error_of_that_spec_only(
    load: Load, orders: Path, installed: Callable[..., None]
) -> None:
    installed("onnx")
    (orders.parent / "other.sql").write_text((orders.parent / "orders.sql").read_text())
    (orders.parent / "other.yaml").write_text(
        orders.read_text().replace("model: orders", "model: other").replace("orders.sql", "other.sql")
    )
    with pytest.raises(EngineNotInstalled) as raised:
        load(ENGINE)
    text = str(raised.value)
    assert text.startswith("orders.yaml:20: training.engine: the engine torch needs the package torch, which ")
    assert f"{sys.executable} does not have.\n  Hint: make torch" in text
    loaded = load_specs(orders.parent, check_sql=False)
    assert [spec.model for spec in loaded.specs] == ["other"]
    assert [type(error) for error in loaded.errors] == [EngineNotInstalled]


def test_what_is_wrong_with_the_spec_itself_comes_first(load: Load, installed: Callable[..., None]) -> None:
    installed("onnx")
    with pytest.raises(SpecError, match="write learning_rate") as raised:
        load((ENGINE[0], "engine: torch\n  params: {lr: 1}"))
    assert not isinstance(raised.value, EngineNotInstalled)


def test_where_it_is_installed_the_spec_is_good(load: Load, installed: Callable[..., None]) -> None:
    installed("onnx", "torch")
    assert load(ENGINE).training.engine == "torch"


def test_a_scheduler_without_the_packages_of_jobs_cannot_know(load: Load, installed: Callable[..., None]) -> None:
    installed()
    assert load(ENGINE).training.engine == "torch"


def test_a_cluster_that_brings_its_packages_is_not_judged_by_this_machine(
    load: Load, installed: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed("onnx")
    monkeypatch.setenv("NIGHTSHIFT_COMPUTE", "emr")
    files = [("uri: data/orders/%F.csv", "uri: 's3://b/%F.csv'"), ("uri: data/shops.csv", "uri: 's3://b/shops.csv'")]
    assert load(ENGINE, *files).training.engine == "torch"
    with pytest.raises(EngineNotInstalled):
        load(ENGINE, *files, ("gates:", "compute: {target: local}\ngates:"))


@pytest.mark.parametrize(("packages", "refused"), [(["onnx"], True), (["onnx", "torch"], False), ([], False)])
def test_another_interpreter_of_jobs_is_looked_into(
    packages: list[str],
    refused: bool,
    load: Load,
    installed: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    installed("onnx", "torch")
    monkeypatch.setenv("NIGHTSHIFT_PYTHON", str(tmp_path / "venv" / "bin" / "python"))
    for name in packages:
        (tmp_path / "venv" / "lib" / "python3.12" / "site-packages" / name).mkdir(parents=True)
    if refused:
        with pytest.raises(EngineNotInstalled, match=r"venv/bin/python does not have"):
            load(ENGINE)
    else:
        assert load(ENGINE)


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
    with pytest.raises(EngineNotInstalled):
        load(ENGINE)
    [found] = doctor.specs(Settings.from_environment())
    assert (found.name, found.state) == ("Model specs", "warning")
    assert found.found.endswith("The other models are not affected.")
    assert found.fix.startswith("make torch")

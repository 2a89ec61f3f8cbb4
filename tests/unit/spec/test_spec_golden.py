"""The commonest mistakes in a spec, each with the exact text that people will read."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from nightshift.errors import SpecError
from nightshift.spec.loader import load_spec, load_specs

GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(path.stem for path in GOLDEN.glob("*.yaml"))


@pytest.fixture(params=[True, False], ids=["libyaml", "pure"])
def yaml_parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param and not yaml.__with_libyaml__:
        pytest.fail("PyYAML was built without libyaml; every DAG parse would be ten times slower")
    monkeypatch.setattr(yaml, "__with_libyaml__", request.param)


@pytest.mark.usefixtures("yaml_parser")
@pytest.mark.parametrize("case", CASES)
def test_a_mistake_is_explained(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN)
    with pytest.raises(SpecError) as raised:
        load_spec(Path(f"{case}.yaml"))
    assert f"{raised.value}\n" == (GOLDEN / f"{case}.txt").read_text()


def test_every_mistake_has_a_text_and_every_text_a_mistake() -> None:
    assert sorted(path.stem for path in GOLDEN.glob("*.txt")) == CASES
    assert len(CASES) >= 12


def test_a_folder_of_broken_specs_gives_one_error_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN)
    loaded = load_specs(Path())
    assert loaded.specs == ()
    assert [str(error) + "\n" for error in loaded.errors] == [(GOLDEN / f"{case}.txt").read_text() for case in CASES]

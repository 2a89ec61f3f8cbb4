from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.fakes.published_night import MODELS, PublishedNight, copied_nights, three_nights

from nightshift.cli.main import main


@dataclass(frozen=True)
class Called:
    """What a command did."""

    code: int
    out: str
    err: str


Call = Callable[..., Called]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of its own: the demo model's spec, a home and a storage root."""
    models = tmp_path / "dags" / "models"
    models.mkdir(parents=True)
    for name in ("flight_delays.yaml", "flight_delays.sql"):
        (models / name).write_text((MODELS / name).read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NIGHTSHIFT_MODELS", str(models))
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path / ".nightshift"))
    monkeypatch.setenv("NIGHTSHIFT_STORAGE", (tmp_path / "store").as_uri())
    monkeypatch.setenv("COLUMNS", "220")
    return tmp_path


@pytest.fixture
def call(site: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run ``nightshift`` in this process: exit code, standard output, standard error."""

    def run(*arguments: str, stdin: str = "") -> Called:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        found = capsys.readouterr()
        return Called(int(ended.value.code or 0), found.out, found.err)

    return run


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[PublishedNight]]:
    """A first champion, its successor, and a refused challenger; shared, so nobody may write there."""
    root = tmp_path_factory.mktemp("published")
    return root, three_nights(root, days=5)


@pytest.fixture
def nights_(published: tuple[Path, list[PublishedNight]], site: Path) -> list[PublishedNight]:
    """The three nights in the site's storage."""
    source, nights = published
    return copied_nights(nights, source, site)

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from tests.fakes.published_night import PublishedNight, copied_nights, plan_of, three_nights


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[PublishedNight]]:
    """A first champion, its successor, and a refused challenger; shared, so nobody may write there."""
    root = tmp_path_factory.mktemp("published")
    return root, three_nights(root, days=20)


@pytest.fixture(scope="session")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PublishedNight]:
    """A night that got as far as ingest; shared likewise."""
    root = tmp_path_factory.mktemp("stopped")
    night = PublishedNight(plan_of(root, date(2013, 6, 26)), until="ingest", days=10)
    night.publish()
    return root, night


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for storage, and the home of the settings."""
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.fixture
def nights_(published: tuple[Path, list[PublishedNight]], root: Path) -> list[PublishedNight]:
    """The three nights in storage of one's own."""
    source, nights = published
    return copied_nights(nights, source, root)


@pytest.fixture
def early(stopped: tuple[Path, PublishedNight], root: Path) -> PublishedNight:
    """The night that got as far as ingest, in storage of one's own."""
    source, night = stopped
    return copied_nights([night], source, root)[0]

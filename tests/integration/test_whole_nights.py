"""Whole nights of a small model, each stage a real job: first champion, reuse, kills at every point, bad data."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from tests.fakes.tiny_model import FIRST_NIGHT, write_day, write_model

from nightshift.errors import DataError, JobError, NightshiftError, SourceError, ValidationFailed
from nightshift.jobs import Job, make_plan, publish, run_job
from nightshift.ledger import Ledger
from nightshift.plan import STAGES, Interval
from nightshift.settings import Settings
from nightshift.spec.loader import load_spec
from nightshift.stage import StageResult
from nightshift.storage import Store
from nightshift.storage.crash_points import POINTS, VARIABLE

pytestmark = [pytest.mark.jvm]


class Site:
    """A folder with a spec, data, storage and an MLflow database of its own."""

    def __init__(self, root: Path, **options: float) -> None:
        self.models = write_model(root, **options)  # type: ignore[arg-type]
        self.data = root / "data"
        self.lines: list[str] = []
        self.settings = Settings.from_environment(
            {"NIGHTSHIFT_MODELS": str(self.models), "NIGHTSHIFT_HOME": str(root / "home")}
        )
        self.store = Store.open(self.settings.storage, env=self.settings.env, model="parcels")

    def run(self, night: date = FIRST_NIGHT, *, until: str = "deploy") -> dict[str, StageResult]:
        spec = load_spec(self.models / "parcels.yaml")
        interval = Interval.of_day(night - timedelta(days=1))
        plan = publish(make_plan(spec, interval, self.settings, run_id=f"test-{night}", trigger="test"))
        results: dict[str, StageResult] = {}
        for stage in STAGES[: STAGES.index(until) + 1]:
            refs = {name: result.ref for name, result in results.items() if result.ref}
            results[stage] = run_job(Job(stage, plan, refs), on_line=self.lines.append)
        return results

    def digests(self) -> dict[str, str]:
        """Content digest of the newest version of every dataset and interval."""
        found = {}
        for dataset in self.store.objects.names("")[0]:
            if dataset in ("ledger", "plan", "report"):
                continue
            for interval in self.store.intervals(dataset):
                manifest = self.store.latest(dataset, interval)
                if manifest is not None:
                    found[f"{dataset}/{interval}"] = manifest.digest
        return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Site, dict[str, StageResult]]:
    site = Site(tmp_path_factory.mktemp("undisturbed"))
    return site, site.run()


@pytest.fixture
def crash_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    yield monkeypatch
    monkeypatch.delenv(VARIABLE, raising=False)


def test_the_first_night_ends_with_a_champion(undisturbed: tuple[Site, dict[str, StageResult]]) -> None:
    site, results = undisturbed
    assert [result.status for result in results.values()] == ["succeeded"] * len(STAGES)
    champion = Ledger(site.store).champion()
    assert champion is not None
    assert champion.model_digest == results["train"].summary["model_digest"]
    accounted = results["validate"].summary
    assert accounted["rows_in"] == accounted["rows_out"] + accounted["quarantined"]


def test_a_second_run_of_a_night_repeats_nothing(undisturbed: tuple[Site, dict[str, StageResult]]) -> None:
    site, first = undisturbed
    before, entries = site.digests(), Ledger(site.store).entries()
    again = site.run()
    assert all(result.reused for result in again.values()), {name: r.reused for name, r in again.items()}
    assert {name: result.ref for name, result in again.items()} == {name: result.ref for name, result in first.items()}
    assert site.digests() == before
    assert Ledger(site.store).entries() == entries


@pytest.mark.long
@pytest.mark.parametrize("point", [point for point in POINTS if point != "mid_write"])
def test_a_kill_at_any_stage_converges_to_the_undisturbed_result(
    point: str, tmp_path: Path, undisturbed: tuple[Site, dict[str, StageResult]], crash_at: pytest.MonkeyPatch
) -> None:
    expected, _ = undisturbed
    site = Site(tmp_path)
    for stage in STAGES:
        crash_at.setenv(VARIABLE, f"{stage}:{point}")
        with pytest.raises(JobError):
            site.run(until=stage)
        visible = site.store.latest(stage, Interval.of_day(FIRST_NIGHT - timedelta(days=1)).key)
        assert (visible is not None) == (point == "after_publish"), stage
        crash_at.delenv(VARIABLE)
    site.run()
    # The two sites differ in where their files are, which the spec names: compare what the data says.
    data = ("raw/", "valid/", "preprocess/", "evaluate/")
    assert {k: v for k, v in site.digests().items() if k.startswith(data)} == {
        k: v for k, v in expected.digests().items() if k.startswith(data)
    }
    assert len(Ledger(site.store).entries()) == 1


def spoil_column(site: Site) -> None:
    path = write_day(site.data, FIRST_NIGHT - timedelta(days=1))
    path.write_text(path.read_text().replace("distance", "miles", 1))


def spoil_encoding(site: Site) -> None:
    path = write_day(site.data, FIRST_NIGHT - timedelta(days=1))
    path.write_bytes(path.read_bytes().replace(b"road", b"r\xf6ad", 3))


def spoil_gzip(site: Site) -> None:
    day = FIRST_NIGHT - timedelta(days=1)
    path = write_day(site.data, day)
    whole = gzip.compress(path.read_bytes())
    path.unlink()
    (site.data / f"{day}.csv.gz").write_bytes(whole[: len(whole) // 2])
    spec = site.models / "parcels.yaml"
    spec.write_text(spec.read_text().replace('%Y-%m-%d.csv"', '%Y-%m-%d.csv*", format: csv'))


def spoil_by_emptying(site: Site) -> None:
    path = write_day(site.data, FIRST_NIGHT - timedelta(days=1))
    path.write_text(path.read_text().splitlines()[0] + "\n")


def spoil_labels(site: Site) -> None:
    path = write_day(site.data, FIRST_NIGHT - timedelta(days=2))
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *(line.rsplit(",", 1)[0] + "," for line in lines[1:])]) + "\n")


DAY, DAY_BEFORE = "2024-03-01", "2024-02-29"


@pytest.mark.parametrize(
    ("spoil", "kind", "words"),
    [
        (spoil_column, DataError, ["distance"]),
        (spoil_encoding, SourceError, [f"{DAY}.csv", "UTF-8"]),
        (spoil_gzip, SourceError, [f"{DAY}.csv.gz"]),
        (spoil_by_emptying, DataError, [DAY]),
        (spoil_labels, ValidationFailed, [DAY_BEFORE, "days_late"]),
    ],
    ids=["missing column", "not UTF-8", "truncated gzip", "empty day", "all-null label"],
)
def test_bad_data_names_the_place_and_leaves_the_champion(
    spoil: object, kind: type[NightshiftError], words: list[str], tmp_path: Path
) -> None:
    site = Site(tmp_path)
    spoil(site)  # type: ignore[operator]
    with pytest.raises(kind) as caught:
        site.run(until="preprocess")
    for word in words:
        assert word in str(caught.value)
    assert caught.value.retryable is False
    night = Interval.of_day(FIRST_NIGHT - timedelta(days=1)).key
    assert site.store.latest("validate", night) is None
    assert Ledger(site.store).champion() is None


def test_a_refused_challenger_is_registered_and_not_deployed(tmp_path: Path) -> None:
    site = Site(tmp_path, minimum=0.99)
    results = site.run()
    assert results["evaluate"].status == "refused"
    assert "0.99" in (results["evaluate"].reason or "")
    assert results["register"].status == "succeeded"
    assert results["deploy"].status == "skipped"
    assert Ledger(site.store).champion() is None
    assert [entry.kind for entry in Ledger(site.store).entries()] == ["refusal"]


def test_the_command_line_runs_predicts_and_remembers(undisturbed: tuple[Site, dict[str, StageResult]]) -> None:
    site, _ = undisturbed

    def nightshift(*words: str) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, "NIGHTSHIFT_MODELS": str(site.models), "NIGHTSHIFT_HOME": str(site.settings.home)}
        command = [str(Path(sys.executable).parent / "nightshift"), *words]
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)

    second = FIRST_NIGHT + timedelta(days=1)
    ran = nightshift("run", "parcels", "--night", str(second))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    history = json.loads(nightshift("history", "parcels", "--json").stdout)
    assert {entry["night"] for entry in history} == {str(FIRST_NIGHT), str(second)}
    row = nightshift("predict", "parcels", json.dumps({"weight": 3.5, "distance": 2000, "lane": "sea"}))
    assert row.returncode == 0, row.stderr
    answer = json.loads(row.stdout)
    answer = answer[0] if isinstance(answer, list) else answer
    assert 0 < answer["probability"] < 1
    wrong = nightshift("predict", "parcels", json.dumps({"weight": 3.5}))
    assert wrong.returncode != 0
    assert "distance" in wrong.stderr

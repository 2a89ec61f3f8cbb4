from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.fakes.published_night import PublishedNight
from tests.unit.cli.conftest import Call

from nightshift.errors import NightshiftError, ValidationFailed
from nightshift.jobs.process import Job
from nightshift.plan import STAGES
from nightshift.stage import StageResult
from nightshift.storage import Ref

NIGHT = ("run", "flight_delays", "--night", "2013-06-28")


class Jobs:
    """Jobs that do nothing, quickly."""

    def __init__(self) -> None:
        self.started: list[Job] = []
        self.fail_at: tuple[str, NightshiftError] | None = None
        self.reused: set[str] = set()
        self.on_cluster: list[str] = []
        self.standing = "accepted"

    def run_job(self, job: Job, *, python: str, on_line: Callable[[str], None], on_cluster: bool) -> StageResult:
        self.started.append(job)
        if on_cluster:
            self.on_cluster.append(job.stage)
        on_line(f"09:54:44 INFO {job.stage}: working on it")
        on_line("a line of somebody else")
        if self.fail_at is not None and self.fail_at[0] == job.stage:
            raise self.fail_at[1]
        summary = {"model_version": 3, "standing": self.standing} if job.stage == "register" else {}
        return StageResult(
            job.stage, "succeeded", Ref(job.stage, "2013-06-27", 1, "d"), job.stage in self.reused, summary
        )


@pytest.fixture
def jobs(site: Path, monkeypatch: pytest.MonkeyPatch) -> Jobs:
    made = Jobs()
    monkeypatch.setattr("nightshift.jobs.process.run_job", made.run_job)
    return made


def test_stages_with_work_for_spark_go_to_the_cluster_that_the_environment_names(
    call: Call, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call(*NIGHT).code == 0
    assert jobs.on_cluster == []
    monkeypatch.setenv("NIGHTSHIFT_COMPUTE", "standalone")
    monkeypatch.setenv("NIGHTSHIFT_SPARK_MASTER", "spark://spark-master:7077")
    assert call(*NIGHT).code == 0
    assert jobs.on_cluster == ["preprocess"]


def test_a_night_on_emr_is_airflows_and_the_command_says_so(
    call: Call, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "this one runs on this machine"
    assert said not in call(*NIGHT).err
    monkeypatch.setenv("NIGHTSHIFT_COMPUTE", "emr")
    called = call(*NIGHT)
    assert (called.code, jobs.on_cluster) == (0, [])
    assert said in called.err


def test_every_stage_gets_what_the_ones_before_published(call: Call, jobs: Jobs) -> None:
    called = call(*NIGHT)
    assert called.code == 0
    assert [job.stage for job in jobs.started] == list(STAGES)
    assert list(jobs.started[-1].upstream) == list(STAGES[:-1])
    assert len({job.plan for job in jobs.started}) == 1
    plan = jobs.started[0].plan.load()
    assert (plan.interval.key, plan.trigger) == ("2013-06-27", "cli")


def test_progress_goes_to_standard_error_and_the_log_to_a_file(call: Call, jobs: Jobs, site: Path) -> None:
    called = call(*NIGHT)
    assert "flight_delays, night 2013-06-28" in called.err
    assert "✓ register" in called.err
    assert "s in all" in called.out
    log = (site / ".nightshift" / "logs" / "flight_delays" / "2013-06-28.log").read_text()
    assert log.count("working on it") == 7
    assert "a line of somebody else" in log


def test_json(call: Call, jobs: Jobs) -> None:
    found = json.loads(call(*NIGHT, "--json").out)
    assert (found["model"], found["night"], found["report"]) == ("flight_delays", "2013-06-28", None)
    assert [stage["stage"] for stage in found["stages"]] == list(STAGES)
    assert all(stage["seconds"] >= 0 for stage in found["stages"])


def test_what_was_done_before_is_said(call: Call, jobs: Jobs) -> None:
    jobs.reused = {"ingest", "validate"}
    assert "Already done before, and not repeated: ingest, validate.\n" in call(*NIGHT).out
    jobs.reused = set(STAGES)
    assert "Everything had been done before; nothing was repeated." in call(*NIGHT).out


def test_a_failure_ends_the_night_with_its_exit_code_and_the_last_lines(call: Call, jobs: Jobs) -> None:
    jobs.fail_at = ("validate", ValidationFailed("22 % of the rows", hint="look"))
    called = call(*NIGHT)
    assert called.code == 65
    assert [job.stage for job in jobs.started] == ["ingest", "validate"]
    assert "✗ validate" in called.err
    assert "The last lines of .nightshift/logs/flight_delays/2013-06-28.log" in called.err
    assert "working on it" in called.err
    assert called.err.index("working on it") < called.err.index("Error: 22 % of the rows")
    assert "Hint: look" in called.err


def test_where_a_person_approves_the_night_ends_with_register_and_says_how(call: Call, jobs: Jobs, site: Path) -> None:
    spec = site / "dags" / "models" / "flight_delays.yaml"
    spec.write_text(spec.read_text() + "\napproval: manual\n")
    called = call(*NIGHT)
    assert called.code == 0, called.err
    assert [job.stage for job in jobs.started] == list(STAGES[:-1])
    assert "To approve it: nightshift promote flight_delays --version 3" in called.out
    jobs.standing = "refused"
    assert "To approve it" not in call(*NIGHT).out


class TestOneStage:
    def test_it_stands_on_the_newest_versions(self, call: Call, jobs: Jobs, nights_: list[PublishedNight]) -> None:
        called = call(*NIGHT, "--stage", "evaluate")
        assert called.code == 0
        (job,) = jobs.started
        assert list(job.upstream) == ["ingest", "validate", "preprocess", "train"]
        assert job.upstream["train"] == nights_[2].results["train"].ref

    def test_without_them_it_says_what_is_missing(self, call: Call, jobs: Jobs) -> None:
        called = call(*NIGHT, "--stage", "preprocess")
        assert called.code == 1
        assert jobs.started == []
        assert "stage preprocess of night 2013-06-28 needs ingest, validate" in called.err
        assert "nightshift run flight_delays --night 2013-06-28" in called.err

    def test_the_first_stage_needs_nothing(self, call: Call, jobs: Jobs) -> None:
        assert call(*NIGHT, "--stage", "ingest").code == 0


@pytest.mark.parametrize(
    ("night", "code", "words"),
    [
        ("2013-13-01", 64, "not a date"),
        ("2999-01-01", 64, "has not come yet"),
        ("2014-01-02", 20, "the source ends at 2014-01-01"),
    ],
)
def test_nights_that_cannot_be_run(call: Call, jobs: Jobs, night: str, code: int, words: str) -> None:
    called = call("run", "flight_delays", "--night", night)
    assert (called.code, jobs.started) == (code, [])
    assert words in called.err

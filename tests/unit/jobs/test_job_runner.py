"""What a job leaves behind: a result, an exit status, a report; whatever its stage does."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import nightshift.report
from nightshift.errors import IntegrityError, JobError, NightshiftError, NightSkipped, StorageError, ValidationFailed
from nightshift.jobs import PublishedPlan, make_plan, publish, replan, runner
from nightshift.jobs.process import _RAISED, Job
from nightshift.plan import STAGES, Interval, Plan
from nightshift.settings import Settings
from nightshift.spec.models import ModelSpec
from nightshift.stage import StageIO, StageResult
from nightshift.storage import Ref, Store

SPEC: dict[str, Any] = {
    "version": 1,
    "model": "parcels",
    "owner": "tests@example.com",
    "source": {"kind": "files", "uri": "/data/%Y-%m-%d.csv", "time": "sent_at"},
    "key": ["parcel"],
    "prepare": "parcels.sql",
    "prepare_sql": "SELECT parcel, sent_at, days_late, weight FROM source",
    "label": {"column": "days_late", "positive": ">= 1"},
    "features": {"numeric": ["weight"]},
    "window": {"train": "7d", "holdout": "3d"},
    "training": {"engine": "xgboost"},
    "gates": {"minimum": 0.6, "versus_champion": {"least": {"days": 2}}},
}
INGESTED = Ref("ingest", "2024-05-04", 1, "aa")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_environment({"NIGHTSHIFT_HOME": str(tmp_path / "home"), "NIGHTSHIFT_MODELS": str(tmp_path)})


@pytest.fixture
def plan(settings: Settings) -> Plan:
    spec = ModelSpec.model_validate(SPEC)
    return make_plan(spec, Interval.of_day(date(2024, 5, 4)), settings, run_id="r1", trigger="cli")


@pytest.fixture
def published(plan: Plan) -> PublishedPlan:
    return publish(plan)


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Reports that were rendered, as the results they were given."""
    rendered: list[dict[str, Any]] = []

    def render_run(plan: Plan, store: Store, results: dict[str, Any]) -> Path:
        rendered.append(results)
        return Path("report.html")

    monkeypatch.setattr(nightshift.report, "render_run", render_run, raising=False)
    return rendered


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[Plan, StageIO], StageResult]], None]:
    def put(name: str, run: Callable[[Plan, StageIO], StageResult]) -> None:
        monkeypatch.setitem(runner.STAGE, name, lambda: run)

    return put


@pytest.fixture(autouse=True)
def logging_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job configures the logging of its process; this one belongs to pytest."""
    monkeypatch.setattr(runner, "_log_to_stdout", lambda stage: None)
    monkeypatch.setattr(runner, "_QUIET", {})


def arguments(stage: str, plan: PublishedPlan, result: Path, upstream: dict[str, Ref] | None = None) -> list[str]:
    return [*Job(stage, plan, upstream or {}).arguments(), "--result", str(result)]


def succeeded(name: str) -> StageResult:
    return StageResult(name, "succeeded", None, False, {"rows": 3})


def raising(error: Exception) -> Callable[[Plan, StageIO], StageResult]:
    def run(plan: Plan, io: StageIO) -> StageResult:
        raise error

    return run


def test_there_is_a_program_for_every_stage() -> None:
    assert tuple(runner.STAGE) == STAGES


def test_a_stage_gets_the_plan_its_inputs_and_a_folder_that_is_gone_afterwards(
    stage: Any, plan: Plan, published: PublishedPlan, reports: list[Any], tmp_path: Path
) -> None:
    seen: dict[str, Any] = {}

    def run(given: Plan, io: StageIO) -> StageResult:
        (io.scratch / "big").write_text("temporary")
        seen.update(plan=given, upstream=dict(io.upstream), scratch=io.scratch, root=io.store.objects.root)
        return succeeded("validate")

    stage("validate", run)
    result = tmp_path / "result.json"
    assert runner.main(arguments("validate", published, result, {"ingest": INGESTED})) == 0
    assert StageResult.from_dict(json.loads(result.read_text())) == succeeded("validate")
    assert (seen["plan"], seen["upstream"]) == (plan, {"ingest": INGESTED})
    assert seen["root"].endswith("/dev/parcels")
    assert not seen["scratch"].exists()
    assert [path.name for path in tmp_path.glob("*result*")] == ["result.json"]
    assert reports == [], "a run that goes on has no report yet"


@pytest.mark.parametrize(
    "error",
    [
        ValidationFailed("2024-05-04 has 3 rows", hint="look at the source"),
        StorageError("cannot read"),
        IntegrityError("other bytes"),
        JobError("it died"),
    ],
)
def test_errors_cross_the_border_of_the_process(
    error: NightshiftError, stage: Any, published: PublishedPlan, reports: list[Any], tmp_path: Path
) -> None:
    stage("ingest", raising(error))
    result = tmp_path / "result.json"
    assert runner.main(arguments("ingest", published, result)) == error.exit_code
    told = json.loads(result.read_text())["error"]
    assert told == {
        "type": type(error).__name__,
        "message": error.message,
        "hint": error.hint,
        "retryable": error.retryable,
    }
    assert _RAISED[told["type"]] is type(error)
    assert reports == [{"ingest": error}]


def test_every_error_of_the_tree_crosses_the_border_as_itself() -> None:
    def tree(kind: type[NightshiftError]) -> list[type[NightshiftError]]:
        return [kind, *(leaf for below in kind.__subclasses__() for leaf in tree(below))]

    ours = {kind.__name__ for kind in tree(NightshiftError) if kind.__module__ == "nightshift.errors"}
    assert set(_RAISED) == ours - {"NightshiftError"}


def test_an_error_that_nobody_foresaw_is_tried_again_and_its_traceback_is_in_the_log(
    stage: Any, published: PublishedPlan, reports: list[Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stage("train", raising(ZeroDivisionError("division by zero")))
    result = tmp_path / "result.json"
    assert runner.main(arguments("train", published, result)) == 1
    told = json.loads(result.read_text())["error"]
    assert (told["type"], told["retryable"]) == ("JobError", True)
    assert told["message"] == "ZeroDivisionError in train: division by zero"
    assert any(record.exc_info and record.exc_info[0] is ZeroDivisionError for record in caplog.records)
    assert len(reports) == 1


def test_a_night_without_work_is_neither_an_error_nor_a_report(
    stage: Any, published: PublishedPlan, reports: list[Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stage("ingest", raising(NightSkipped("the source has no history yet")))
    with caplog.at_level(logging.INFO):
        assert runner.main(arguments("ingest", published, tmp_path / "result.json")) == NightSkipped.exit_code
    assert reports == []
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_plan_that_was_changed_is_refused_before_anything_runs(
    stage: Any, published: PublishedPlan, reports: list[Any], tmp_path: Path
) -> None:
    stage("ingest", raising(AssertionError("must not run")))
    other = PublishedPlan(published.uri, "0" * 64)
    result = tmp_path / "result.json"
    assert runner.main(arguments("ingest", other, result)) == IntegrityError.exit_code
    assert "clear the run's first task" in json.loads(result.read_text())["error"]["hint"]


def published_ref(plan: Plan, name: str) -> Ref:
    attempt = Store.of(plan).attempt(name, plan.interval.key)
    attempt.put("sources.json", b"{}")
    return attempt.publish(stage_key="key", code="code", result={"rows_in": 5}).ref


def test_the_last_stage_renders_the_report_of_the_whole_run(
    stage: Any, plan: Plan, published: PublishedPlan, reports: list[Any], tmp_path: Path
) -> None:
    ref = published_ref(plan, "ingest")
    done = replace(succeeded("deploy"), status="skipped", reason="the challenger was refused")
    stage("deploy", lambda plan, io: done)
    assert runner.main(arguments("deploy", published, tmp_path / "result.json", {"ingest": ref})) == 0
    (results,) = reports
    assert results["deploy"] == done
    assert (results["ingest"].ref, results["ingest"].summary) == (ref, {"rows_in": 5})


def test_a_report_that_cannot_be_rendered_fails_no_run(
    stage: Any,
    published: PublishedPlan,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def render_run(*_: Any) -> Path:
        raise KeyError("evaluation")

    monkeypatch.setattr(nightshift.report, "render_run", render_run, raising=False)
    stage("deploy", lambda plan, io: succeeded("deploy"))
    assert runner.main(arguments("deploy", published, tmp_path / "result.json")) == 0
    assert "the run report could not be rendered" in caplog.text


def test_a_job_line_is_made_to_be_read(plan: Plan) -> None:
    ref = Ref("train", "2024-05-04", 3, "d")
    assert runner._sentence(StageResult("train", "succeeded", ref, False, {})) == "succeeded (train/2024-05-04@3)"
    assert runner._sentence(StageResult("train", "succeeded", ref, True, {})) == (
        "succeeded, as published before: train/2024-05-04@3"
    )
    assert runner._sentence(StageResult("deploy", "skipped", None, False, {}, "not fit")) == "skipped: not fit"


def test_planning_again_keeps_the_run_and_takes_the_spec_of_today(plan: Plan, settings: Settings) -> None:
    spec = ModelSpec.model_validate({**SPEC, "gates": {"minimum": 0.7, "versus_champion": {"least": {"days": 2}}}})
    moved = replace(settings, storage="file:///elsewhere", env="prod", threads=7, mlflow_uri="sqlite:////new.db")
    again = replan(plan, spec, moved)
    assert (again.interval, again.run_id, again.trigger) == (plan.interval, plan.run_id, plan.trigger)
    assert (again.storage, again.env) == (plan.storage, plan.env), "its stages' results are where they are"
    assert (again.spec, again.threads, again.mlflow_uri) == (spec, 7, "sqlite:////new.db")


def test_a_plan_is_published_once_under_its_digest(plan: Plan, published: PublishedPlan) -> None:
    assert publish(plan) == published
    assert published.sha256 in published.uri
    assert published.load() == plan


def test_a_plan_that_is_not_there_is_trouble_of_the_storage(published: PublishedPlan) -> None:
    with pytest.raises(StorageError, match="there is no object"):
        PublishedPlan(published.uri.replace(published.sha256, "0" * 64), published.sha256).load()


def test_arguments_name_everything_a_job_needs(published: PublishedPlan) -> None:
    job = Job("validate", published, {"ingest": INGESTED})
    found = runner._parser().parse_args(job.arguments())
    assert (found.stage, found.plan, found.plan_sha256) == ("validate", published.uri, published.sha256)
    assert json.loads(found.upstream) == {"ingest": asdict(INGESTED)}

"""The operator behind every stage, with a compute target that answers at once."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from nightshift.errors import JobError, NightshiftError, NightSkipped, ValidationFailed
from nightshift.jobs import Cancellation, Job
from nightshift.spec.models import ModelSpec
from nightshift.stage import StageResult
from nightshift.storage import Ref

if TYPE_CHECKING:
    from airflow.sdk import DAG

    from nightshift_airflow.operators import StageOperator

SPEC: dict[str, Any] = {
    "version": 1,
    "model": "parcels",
    "owner": "tests@example.com",
    "source": {"kind": "files", "uri": "/data/%Y-%m-%d.csv", "time": "sent_at", "until": "2024-06-01"},
    "key": ["parcel"],
    "prepare": "parcels.sql",
    "prepare_sql": "SELECT parcel, sent_at, days_late, weight FROM source",
    "label": {"column": "days_late", "positive": ">= 1"},
    "features": {"numeric": ["weight"]},
    "window": {"train": "7d", "holdout": "3d"},
    "training": {"engine": "xgboost"},
    "gates": {"minimum": 0.6, "versus_champion": {"least": {"days": 2}}},
}
LATE_EVENING = datetime(2024, 5, 4, 22, 30, tzinfo=UTC)
TWO_AT_NIGHT = datetime(2024, 5, 5, 2, tzinfo=UTC)


@dataclass
class FakeTarget:
    """Records jobs and answers each with a result or an error."""

    answer: Callable[[Job], StageResult]
    jobs: list[Job] = field(default_factory=list)

    def run(self, job: Job, *, cancellation: Cancellation) -> StageResult:
        self.jobs.append(job)
        return self.answer(job)


def result(stage: str, status: str = "succeeded", *, reason: str | None = None, **summary: Any) -> StageResult:
    ref = Ref(stage, "2024-05-04", 1, f"digest of {stage}")
    return StageResult(stage, status, ref, False, summary, reason)  # type: ignore[arg-type]


class TaskInstance(SimpleNamespace):
    dag_id, run_id, task_id, try_number = "parcels__retraining", "r1", "ingest", 1

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed = {key: value}


def context(*, try_number: int = 1, night: str | None = None, **run: Any) -> dict[str, Any]:
    defaults = {"run_id": "r1", "run_type": "scheduled", "run_after": TWO_AT_NIGHT, "data_interval_end": TWO_AT_NIGHT}
    return {
        "dag_run": SimpleNamespace(**{**defaults, **run}),
        "params": {"night": night},
        "ti": TaskInstance(try_number=try_number),
        "outlet_events": Events(),
    }


class Events(dict[Any, Any]):
    def __missing__(self, asset: Any) -> SimpleNamespace:
        self[asset] = SimpleNamespace(extra={})
        return self[asset]


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path / "home"))


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch) -> FakeTarget:
    fake = FakeTarget(lambda job: result(job.stage))
    monkeypatch.setattr("nightshift_airflow.operators.target_of", lambda *_, **__: fake)
    return fake


def lifecycle(**changes: Any) -> dict[str, StageOperator]:
    from airflow.sdk import dag

    from nightshift_airflow import lifecycle as stages
    from nightshift_airflow.describe import dag_of

    spec = ModelSpec.model_validate({**SPEC, **changes})

    @dag(**dag_of(spec, "retraining"))
    def nightly() -> None:
        given = stages.ingest(spec)
        for stage in (
            stages.validate,
            stages.preprocess,
            stages.train,
            stages.evaluate,
            stages.register,
            stages.deploy,
        ):
            given = stage(given)

    built: DAG = nightly()
    return {task.task_id: task for task in built.tasks}  # type: ignore[misc]


def execute(operator: StageOperator, about: dict[str, Any], upstream: dict[str, Any] | None = None) -> dict[str, Any]:
    operator.upstream = upstream  # type: ignore[assignment]  # Airflow renders the XComArg
    return operator.execute(about)  # type: ignore[arg-type]


# -- the interval --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("run", "night", "trigger"),
    [
        ({}, "2024-05-05", "scheduled"),
        ({"run_type": "backfill"}, "2024-05-05", "backfill"),
        ({"run_type": "manual"}, "2024-05-05", "manual"),
        ({"run_type": "operator_triggered"}, "2024-05-05", "manual"),
        ({"run_type": "asset_triggered", "data_interval_end": None}, "2024-05-05", "asset"),
        ({"data_interval_end": LATE_EVENING}, "2024-05-04", "scheduled"),
        ({"run_type": "manual", "data_interval_end": None, "run_after": LATE_EVENING}, "2024-05-04", "manual"),
        ({"triggering_user_name": "dag_test", "run_type": "manual"}, "2024-05-05", "test"),
        ({"night": "2024-04-30", "run_type": "manual"}, "2024-04-30", "manual"),
    ],
)
def test_every_kind_of_run_has_its_night(run: dict[str, Any], night: str, trigger: str, target: FakeTarget) -> None:
    told = execute(lifecycle()["ingest"], context(**run))
    assert told["night"] == night
    plan = target.jobs[0].plan.load()
    assert plan.interval.night.isoformat() == night
    assert (plan.trigger, plan.run_id, plan.model) == (trigger, "r1", "parcels")


def test_a_night_after_the_end_of_the_source_is_skipped_with_the_reason(target: FakeTarget) -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    with pytest.raises(AirflowSkipException, match=r"the source ends at 2024-06-01 \(source\.until\)"):
        execute(lifecycle()["ingest"], context(night="2024-06-02", run_after=datetime(2026, 1, 1, tzinfo=UTC)))
    assert target.jobs == []


def test_a_night_that_is_no_date_fails_at_once(target: FakeTarget) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    with pytest.raises(AirflowFailException, match="YYYY-MM-DD"):
        execute(lifecycle()["ingest"], context(night="tomorrow"))


# -- the handover --------------------------------------------------------------------------------------


def test_each_task_passes_on_the_plan_and_every_version_so_far(target: FakeTarget) -> None:
    told: dict[str, Any] | None = None
    for stage, operator in lifecycle().items():
        told = json.loads(json.dumps(execute(operator, context(), told)))
        assert told is not None
        assert list(told["results"])[-1] == stage
    assert {job.plan for job in target.jobs} == {target.jobs[0].plan}
    assert target.jobs[-1].upstream == {
        stage: result(stage).ref for stage in ("ingest", "validate", "preprocess", "train", "evaluate", "register")
    }


def test_text_that_looks_like_a_template_is_left_alone(target: FakeTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values of the data can reach a summary; nothing in them may be evaluated."""
    operators = lifecycle()
    target.answer = lambda job: result(job.stage, top_value="{{ 1 / 0 }} {% raise %}")
    told = execute(operators["ingest"], context())
    operator = operators["validate"]
    monkeypatch.setattr(type(operator.upstream), "resolve", lambda self, context: told)
    operator.render_template_fields(context())  # type: ignore[arg-type]
    assert operator.upstream == told


def test_a_task_that_runs_again_plans_again_for_the_same_night(
    target: FakeTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = execute(lifecycle()["ingest"], context())
    fixed = lifecycle(gates={"minimum": 0.5, "versus_champion": {"least": {"days": 2}}})
    retried = execute(fixed["validate"], context(try_number=2, data_interval_end=LATE_EVENING), told)
    first, second = (job.plan for job in target.jobs)
    assert second != first
    assert retried["plan"] == {"uri": second.uri, "sha256": second.sha256}
    before, after = first.load(), second.load()
    assert (after.interval, after.run_id, after.trigger) == (before.interval, before.run_id, before.trigger)
    assert (before.spec.gates.minimum, after.spec.gates.minimum) == (0.6, 0.5)
    assert target.jobs[1].upstream == target.jobs[0].upstream | {"ingest": result("ingest").ref}
    execute(fixed["preprocess"], context(), retried)
    assert target.jobs[2].plan == second, "and the tasks after it work by the new plan"


def test_a_first_try_keeps_the_plan_of_the_run(target: FakeTarget) -> None:
    told = execute(lifecycle()["ingest"], context())
    execute(lifecycle(gates={"minimum": 0.5, "versus_champion": {"least": {"days": 2}}})["validate"], context(), told)
    assert target.jobs[0].plan == target.jobs[1].plan


# -- endings -------------------------------------------------------------------------------------------


def raising(error: NightshiftError) -> Callable[[Job], StageResult]:
    def answer(job: Job) -> StageResult:
        raise error

    return answer


def test_bad_data_fails_at_once_with_reason_and_hint(target: FakeTarget) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    target.answer = raising(ValidationFailed("2024-05-04 has 3 rows", hint="look at the source"))
    with pytest.raises(AirflowFailException) as caught:
        execute(lifecycle()["ingest"], context())
    assert str(caught.value) == "2024-05-04 has 3 rows\n  Hint: look at the source"


def test_trouble_of_machines_is_left_to_airflows_retries(target: FakeTarget) -> None:
    target.answer = raising(JobError("the ingest job was killed by SIGKILL."))
    with pytest.raises(JobError):
        execute(lifecycle()["ingest"], context())


def test_a_stage_without_work_is_skipped(target: FakeTarget) -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    target.answer = raising(NightSkipped("too little history"))
    with pytest.raises(AirflowSkipException, match="too little history"):
        execute(lifecycle()["ingest"], context())


def refused(job: Job) -> StageResult:
    if job.stage == "evaluate":
        return result("evaluate", "refused", reason="roc_auc 0.58 is below the floor 0.6")
    if job.stage == "deploy":
        return result("deploy", "skipped", reason="not deployed: roc_auc 0.58 is below the floor 0.6")
    return result(job.stage)


def run_refused(about: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Run all stages of a night whose challenger is refused; gives what evaluate told."""
    from airflow.sdk.exceptions import AirflowSkipException

    told: dict[str, Any] | None = None
    evaluated: dict[str, Any] = {}
    for stage, operator in lifecycle(**changes).items():
        if stage == "deploy":
            with pytest.raises(AirflowSkipException, match="below the floor"):
                execute(operator, about, told)
            break
        told = execute(operator, about, told)
        if stage == "evaluate":
            evaluated = told
    return evaluated


def test_a_refusal_is_a_successful_run_with_deploy_skipped(target: FakeTarget) -> None:
    target.answer = refused
    about = context()
    evaluated = run_refused(about)
    assert (evaluated["status"], evaluated["reason"]) == ("refused", "roc_auc 0.58 is below the floor 0.6")
    assert [job.stage for job in target.jobs][-2:] == ["register", "deploy"], "the ledger learns of refusals in deploy"
    assert about["ti"].pushed["return_value"]["status"] == "skipped"


def test_a_promotion_tells_consumers_of_the_asset(target: FakeTarget) -> None:
    target.answer = lambda job: result(job.stage, champion_version=7, evidence=[1, 2])
    told: dict[str, Any] | None = None
    about = context()
    for operator in lifecycle().values():
        told = execute(operator, about, told)
    ((asset, event),) = about["outlet_events"].items()
    assert asset.uri == "x-nightshift://parcels/champion"
    assert event.extra == {"night": "2024-05-05", "champion_version": 7}


def test_cancelling_the_task_cancels_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    operator = lifecycle()["ingest"]

    class Waiting:
        def run(self, job: Job, *, cancellation: Cancellation) -> StageResult:
            operator.on_kill()
            assert cancellation.reason == "the task was cancelled or ran out of time"
            raise JobError("ended")

    monkeypatch.setattr("nightshift_airflow.operators.target_of", lambda *_, **__: Waiting())
    with pytest.raises(JobError, match="ended"):
        execute(operator, context())


def test_cancelling_the_task_before_there_is_a_job_cancels_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    operator = lifecycle()["ingest"]
    operator.on_kill()

    class Cancelled:
        def run(self, job: Job, *, cancellation: Cancellation) -> StageResult:
            raise JobError(f"ended: {cancellation.reason}")

    monkeypatch.setattr("nightshift_airflow.operators.target_of", lambda *_, **__: Cancelled())
    with pytest.raises(JobError, match="ended: the task was cancelled or ran out of time"):
        execute(operator, context())


# -- notifications -------------------------------------------------------------------------------------


@contextmanager
def webhook(status: int = 200) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server on this machine; gives its URL and the bodies it was sent."""
    bodies: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers["Content-Length"]))
            bodies.append(
                {
                    "path": self.path,
                    "headers": {name.lower(): value for name, value in self.headers.items()},
                    **json.loads(sent),
                }
            )
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/hooks/s3cr3t-path", bodies
        server.shutdown()


def connect(monkeypatch: pytest.MonkeyPatch, url: str) -> dict[str, Any]:
    connection = {"conn_type": "http", "host": url, "password": "t0ken", "extra": {"headers": {"X-Team": "parcels"}}}
    monkeypatch.setenv("AIRFLOW_CONN_TEAM_HOOK", json.dumps(connection))
    return {"notify": {"connection": "team_hook"}}


def test_a_refusal_is_told_to_the_webhook(target: FakeTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    target.answer = refused
    with webhook() as (url, bodies):
        run_refused(context(), **connect(monkeypatch, url))
    (body,) = bodies
    assert (body["event"], body["model"], body["night"], body["run_id"]) == ("refusal", "parcels", "2024-05-05", "r1")
    assert body["reason"] == "roc_auc 0.58 is below the floor 0.6"
    assert body["text"].startswith("parcels: the challenger of night 2024-05-05 was refused")
    assert body["path"] == "/hooks/s3cr3t-path"
    expected = {"content-type": "application/json", "authorization": "Bearer t0ken", "x-team": "parcels"}
    assert {name: body["headers"].get(name) for name in expected} == expected


def fail(about: dict[str, Any], **changes: Any) -> None:
    """Call the failure callbacks the way Airflow does after a task's last try."""
    operator = lifecycle(**changes)["ingest"]
    about["exception"] = ValidationFailed("2024-05-04 has 3 rows", hint="look at the source")
    for callback in operator.on_failure_callback:
        callback(about)


def test_a_failure_is_told_to_the_webhook(monkeypatch: pytest.MonkeyPatch) -> None:
    with webhook() as (url, bodies):
        fail(context(), **connect(monkeypatch, url))
    (body,) = bodies
    assert (body["event"], body["stage"]) == ("failure", "ingest")
    assert "2024-05-04 has 3 rows\n  Hint: look at the source" in body["text"]


@pytest.mark.parametrize("broken", ["no connection", "server error", "nobody listens", "no url"])
def test_a_webhook_that_fails_is_a_warning_and_the_reason_stays_last(
    broken: str, target: FakeTarget, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with webhook(status=500) as (url, _):
        other = {"nobody listens": "http://127.0.0.1:9/hooks/s3cr3t-path", "no url": "file:///etc/s3cr3t-path"}
        changes = connect(monkeypatch, other.get(broken, url))
        if broken == "no connection":
            monkeypatch.delenv("AIRFLOW_CONN_TEAM_HOOK")
        target.answer = refused
        run_refused(context(), **changes)
        fail(context(), **changes)
    assert caplog.text.count("connection team_hook was not notified: ") == 2
    assert "s3cr3t" not in caplog.text
    assert "t0ken" not in caplog.text
    assert caplog.records[-1].levelno == logging.ERROR
    assert caplog.records[-1].getMessage().endswith("2024-05-04 has 3 rows\n  Hint: look at the source")


def test_job_lines_keep_their_level_and_pass_it_to_what_follows_an_error(caplog: pytest.LogCaptureFixture) -> None:
    from nightshift_airflow.compute.task_log import TaskLog

    lines = (
        "java says 100 %s",
        "02:00:01 INFO ingest: 14 days",
        "02:00:02 WARNING spark: thin",
        "java again",
        "02:00:03 ERROR ingest: met an error",
        "Traceback (most recent call last):",
        "ValueError: no",
        "02:00:04 INFO ingest: over",
    )
    with caplog.at_level(logging.INFO):
        log_line = TaskLog()
        for line in lines:
            log_line(line)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "java says 100 %s"),
        ("INFO", "ingest: 14 days"),
        ("WARNING", "spark: thin"),
        ("INFO", "java again"),
        ("ERROR", "ingest: met an error"),
        ("ERROR", "Traceback (most recent call last):"),
        ("ERROR", "ValueError: no"),
        ("INFO", "ingest: over"),
    ]


# -- the link to Spark's page ----------------------------------------------------------------------------


def test_only_stages_with_work_for_spark_have_a_link_to_it() -> None:
    def linked(**changes: Any) -> set[str]:
        return {name for name, operator in lifecycle(**changes).items() if operator.operator_extra_links}

    assert linked() == {"preprocess"}
    for workers in (2, "auto"):
        assert linked(training={"engine": "xgboost", "workers": workers}) == {"preprocess", "train"}


def test_the_link_works_while_the_task_runs_and_afterwards(target: FakeTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    told = execute(lifecycle()["ingest"], context())
    operator, about = lifecycle()["preprocess"], context()
    page = "http://127.0.0.1:8081/app/?appId=app-20261120130920-0000"

    def target_of(*_: Any, on_link: Callable[[str], None], **__: Any) -> FakeTarget:
        target.answer = lambda job: (on_link(page), result(job.stage))[1]
        return target

    monkeypatch.setattr("nightshift_airflow.operators.target_of", target_of)
    [link] = operator.operator_extra_links
    assert link.get_link(operator, ti_key=about["ti"]) == ""  # type: ignore[arg-type]
    execute(operator, about, told)
    assert about["ti"].pushed == {link.xcom_key: page}
    assert link.get_link(operator, ti_key=about["ti"]) == page  # type: ignore[arg-type]


def test_a_link_that_cannot_be_shown_yet_does_not_stop_the_job(caplog: pytest.LogCaptureFixture) -> None:
    from nightshift_airflow.links import show_while_running

    class Unreachable(TaskInstance):
        def xcom_push(self, key: str, value: Any) -> None:
            raise ConnectionError("the API server is away")

    show_while_running({"ti": Unreachable()}, "http://127.0.0.1:8081")  # type: ignore[typeddict-item]
    assert "appears only when the task has ended" in caplog.text


def test_the_api_server_finds_the_link_by_what_is_in_the_serialized_dag() -> None:
    """Without this project's code: it gets a name and the key of an XCom."""
    from airflow.serialization.serialized_objects import DagSerialization

    dag = lifecycle()["preprocess"].dag
    encoded = DagSerialization.to_dict(dag)
    read = DagSerialization.from_dict(json.loads(json.dumps(encoded))).get_task("preprocess")
    assert {name: link.xcom_key for name, link in read.operator_extra_link_dict.items()} == {"Spark UI": "spark_ui"}
    assert read.extra_links == ["Spark UI"]


@pytest.mark.parametrize(("target_name", "kind"), [("local", "LocalCompute"), ("standalone", "StandaloneCompute")])
def test_the_environment_decides_where_the_spec_does_not(
    target_name: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nightshift.settings import Settings
    from nightshift_airflow.compute import target_of

    monkeypatch.setenv("NIGHTSHIFT_SPARK_MASTER", "spark://spark-master:7077")
    monkeypatch.setenv("NIGHTSHIFT_COMPUTE", target_name)
    spec = ModelSpec.model_validate(SPEC)
    chosen = target_of(spec, Settings.from_environment(), supervised=True, on_link=print)
    assert type(chosen).__name__ == kind
    other = ModelSpec.model_validate({**SPEC, "compute": {"target": "local"}})
    assert (
        type(target_of(other, Settings.from_environment(), supervised=True, on_link=print)).__name__ == "LocalCompute"
    )


def test_a_cluster_that_nobody_named_fails_at_once_with_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    monkeypatch.delenv("NIGHTSHIFT_SPARK_MASTER", raising=False)
    operator = lifecycle(compute={"target": "standalone"})["ingest"]
    with pytest.raises(AirflowFailException, match="NIGHTSHIFT_SPARK_MASTER is not set"):
        execute(operator, context())


# -- where a person approves -----------------------------------------------------------------------------


class AliasEvents(Events):
    """What Airflow gives for an alias: events are added to it."""

    def __missing__(self, outlet: Any) -> SimpleNamespace:
        added: list[Any] = []
        self[outlet] = SimpleNamespace(extra={}, added=added, add=lambda asset, extra: added.append((asset, extra)))
        return self[outlet]


def register_of_a_night_that_waits(
    target: FakeTarget, *, standing: str, run_type: str = "scheduled", **changes: Any
) -> list[Any]:
    """Run a night of a model with ``approval: manual``; gives what register announced."""

    def answer(job: Job) -> StageResult:
        if job.stage == "evaluate":
            refused = standing == "refused"
            return result(
                "evaluate", "refused" if refused else "succeeded", reason="bad" if refused else None, verdict="first"
            )
        return result(job.stage, model_version=7, standing=standing)

    target.answer = answer
    about = {**context(run_type=run_type), "outlet_events": AliasEvents()}
    told: dict[str, Any] | None = None
    operators = lifecycle(approval="manual", **changes)
    for stage in ("ingest", "validate", "preprocess", "train", "evaluate", "register"):
        told = execute(operators[stage], about, told)
    return [event for accessor in about["outlet_events"].values() for event in accessor.added]


def test_a_candidate_is_announced_with_all_that_its_promotion_needs(target: FakeTarget) -> None:
    ((asset, extra),) = register_of_a_night_that_waits(target, standing="accepted")
    assert asset.uri == "x-nightshift://parcels/candidate"
    assert (extra["night"], extra["model_version"], extra["verdict"]) == ("2024-05-05", 7, "first")
    assert list(extra["refs"]) == ["ingest", "validate", "preprocess", "train", "evaluate", "register"]
    assert set(extra["plan"]) == {"uri", "sha256"}
    assert len(json.dumps(extra)) < 2000


def test_nobody_is_asked_about_a_refused_version_and_the_webhook_hears_of_it(
    target: FakeTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    with webhook() as (url, bodies):
        assert register_of_a_night_that_waits(target, standing="refused", **connect(monkeypatch, url)) == []
    assert [(body["event"], body["stage"], body["reason"]) for body in bodies] == [("refusal", "ingest", "bad")]


def test_nobody_is_asked_about_a_backfill(target: FakeTarget) -> None:
    assert register_of_a_night_that_waits(target, standing="accepted", run_type="backfill") == []

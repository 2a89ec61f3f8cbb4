"""The operator behind every stage: thin, so that Airflow's interpreter needs no ML library.

What only a running task needs is imported by the methods that run: DAG files are parsed all the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, BaseOperator, XComArg
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from nightshift.errors import NightshiftError, NightSkipped
from nightshift.spec.models import ModelSpec
from nightshift.spec.spark_use import uses_spark
from nightshift_airflow.assets import candidate
from nightshift_airflow.compute import POOL, target_of
from nightshift_airflow.links import SparkLink, show_while_running
from nightshift_airflow.notifiers import FailureNotifier, explain_failure, explain_retry, notify_refusal
from nightshift_airflow.runs import interval_of, is_dags_test, trigger_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from nightshift.jobs import Cancellation, Job
    from nightshift.settings import Settings
    from nightshift.stage import StageResult
    from nightshift_airflow.compute.emr.scope import ClusterScope
    from nightshift_airflow.handover import Handover

ENDED = "the task was cancelled or ran out of time"


class StageOperator(BaseOperator):
    """Runs one stage of a model's lifecycle on the model's compute target.

    The first stage resolves the run to its interval and publishes the plan; the others take the plan and
    the published versions from the stage before. A task that runs again plans again, with the spec and code
    of today, for the same interval.

    Args:
        spec: The model's spec.
        upstream: What the stage before gave; None for the first stage.
        **kwargs: Arguments of ``BaseOperator``; ``task_id`` is the name of the stage.
    """

    template_fields: Sequence[str] = ("upstream",)
    ui_color = "#e8edf7"

    def __init__(self, *, spec: ModelSpec, upstream: XComArg | None = None, **kwargs: Any) -> None:
        super().__init__(**{**task_defaults(spec), **kwargs})
        self.spec = spec
        self.upstream = upstream
        self.scope: ClusterScope | None = None
        self.spark_ui: str | None = None
        if uses_spark(self.task_id, spec):
            self.operator_extra_links = (SparkLink(),)
        self._killed = False
        self._cancellation: Cancellation | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Submit the stage's job and wait; gives the handover for the next task.

        Raises:
            AirflowSkipException: There is nothing to do on this night, or nothing to deploy.
            AirflowFailException: Trying again cannot help: bad spec, data or model.
            NightshiftError: Trying again may help.
        """
        return self._concluded(context, lambda: self._run(context))

    def _concluded(self, context: Context, work: Callable[[], Handover]) -> dict[str, Any]:
        """Do the work, and tell Airflow how it ended; for what is raised see ``execute``."""
        with for_airflow():
            handover = work()
        result = handover.results[self.task_id]
        if result.status == "skipped" or (self.task_id == "deploy" and result.status == "refused"):
            context["ti"].xcom_push(key="return_value", value=handover.to_dict())
            self._tell_of_refusal(context, handover)
            raise AirflowSkipException(result.reason or "nothing to do")
        if result.status == "refused":
            self.log.warning("refused: %s", result.reason)
        if self.task_id == "register" and self.spec.approval == "manual":
            self._tell_of_refusal(context, handover)
        self._announce(context, handover)
        return handover.to_dict()

    def on_kill(self) -> None:
        """End the job: called when the task is cancelled, marked, or out of time."""
        self._killed = True
        if self._cancellation is not None:
            self._cancellation.request(ENDED)

    def _run(self, context: Context) -> Handover:
        from nightshift.jobs import Cancellation, Job
        from nightshift.settings import Settings

        self._cancellation = cancellation = Cancellation()
        if self._killed:  # on_kill runs in a signal handler: it may have come before there was anything to cancel
            cancellation.request(ENDED)
        settings = Settings.from_environment()
        handover = self._handover(context, settings)
        job = Job(self.task_id, handover.plan, handover.refs)
        return handover.followed_by(self._do(context, settings, handover, job, cancellation))

    def _do(
        self, context: Context, settings: Settings, handover: Handover, job: Job, cancellation: Cancellation
    ) -> StageResult:
        """Run the job to its end."""
        supervised = not is_dags_test(context["dag_run"])
        target = target_of(self.spec, settings, supervised=supervised, on_link=partial(self._show_link, context))
        return target.run(job, cancellation=cancellation)

    def _show_link(self, context: Context, url: str) -> None:
        self.spark_ui = url
        show_while_running(context, url)

    def _handover(self, context: Context, settings: Settings) -> Handover:
        from nightshift.jobs import publish, replan
        from nightshift_airflow.handover import Handover

        if self.upstream is None:
            return self._first(context, settings)
        assert isinstance(self.upstream, Mapping), "Airflow renders template fields before it executes"
        given = Handover.from_dict(self.upstream)
        again = context["ti"].try_number > 1
        if again:
            self.log.info("this task ran before: planning again, with the spec and the code of today")
        if again or given.approval is not None:
            plan = replan(given.plan.load(), self.spec, settings, approval=given.approval)
            return Handover(publish(plan), given.night, given.results)
        return given

    def _first(self, context: Context, settings: Settings) -> Handover:
        from nightshift.jobs import make_plan, publish
        from nightshift_airflow.handover import Handover

        run = context["dag_run"]
        interval = interval_of(run, night=context["params"].get("night"), until=self.spec.source.until)
        plan = make_plan(self.spec, interval, settings, run_id=run.run_id, trigger=trigger_of(run))
        published = publish(plan)
        self.log.info("night %s: %s; plan %s", interval.night, interval, published.uri)
        return Handover(published, interval.night.isoformat())

    def _announce(self, context: Context, handover: Handover) -> None:
        """Say what has changed: a new champion always, a candidate only if a person is to be asked about it."""
        result = handover.results[self.task_id]
        for outlet in self.outlets:
            if isinstance(outlet, Asset):
                context["outlet_events"][outlet].extra.update(_facts(handover, result))
            elif result.summary["standing"] == "accepted" and trigger_of(context["dag_run"]) != "backfill":
                extra = {"night": handover.night, **_about_candidate(handover)}
                context["outlet_events"][outlet].add(candidate(self.spec), extra=extra)
                self.log.info("v%s waits for a person's approval", result.summary["model_version"])

    def _tell_of_refusal(self, context: Context, handover: Handover) -> None:
        refused = next((result for result in handover.results.values() if result.status == "refused"), None)
        if refused is not None and self.spec.notify is not None:
            notify_refusal(context, self.spec, refused, night=handover.night)


@contextmanager
def for_airflow() -> Iterator[None]:
    """What our errors are to Airflow, for the length of the block.

    Raises:
        AirflowSkipException: There is nothing to do on this night.
        AirflowFailException: Trying again cannot help.
        NightshiftError: Trying again may help.
    """
    try:
        yield
    except NightSkipped as error:
        raise AirflowSkipException(str(error)) from None
    except NightshiftError as error:
        if error.retryable:
            raise
        raise AirflowFailException(str(error)) from None


def task_defaults(spec: ModelSpec) -> dict[str, Any]:
    """What every stage's task is by default: when it is tried again, and who hears of its failure.

    Not in the DAG's ``default_args``: Airflow copies those deeply, once for each task.
    """
    told = [FailureNotifier(spec)] if spec.notify else []
    return {
        "owner": spec.owner,
        "pool": POOL,
        "execution_timeout": timedelta(hours=6),
        "retries": spec.retries,
        "retry_delay": timedelta(seconds=30),
        "retry_exponential_backoff": 2,
        "max_retry_delay": timedelta(minutes=15),
        "on_failure_callback": [*told, explain_failure],
        "on_retry_callback": [explain_retry],
    }


def _facts(handover: Handover, result: StageResult) -> dict[str, Any]:
    """What a consumer of the champion's asset gets to know."""
    return {"night": handover.night, **{key: value for key, value in result.summary.items() if _is_small(value)}}


def _about_candidate(handover: Handover) -> dict[str, Any]:
    """What the promotion DAG gets to know: enough to find the version in storage, and to read in the UI."""
    evaluate, register = handover.results["evaluate"], handover.results["register"]
    return {
        "model_version": register.summary["model_version"],
        "verdict": evaluate.summary["verdict"],
        "plan": asdict(handover.plan),
        "refs": {stage: asdict(ref) for stage, ref in handover.refs.items()},
    }


def _is_small(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool)

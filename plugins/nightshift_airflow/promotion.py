"""The words of ``dags/promotion.py``: a person decides whether a version that passed its gates may ship."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import BaseOperator, Param, XComArg, conf
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from nightshift.errors import NightshiftError
from nightshift.spec.models import ModelSpec
from nightshift.spec.values import format_duration
from nightshift_airflow.assets import candidate as candidate_asset
from nightshift_airflow.notifiers import notify_question
from nightshift_airflow.operators import task_defaults
from nightshift_airflow.runs import interval_of, is_dags_test, trigger_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from nightshift.plan import Interval
    from nightshift.report.approval import Question
    from nightshift_airflow.handover import Handover

APPROVE, REJECT = "Approve", "Reject"
# Not the jobs' pool: neither task runs a job, and one that waits for a person holds no slot at all.
QUICK: dict[str, Any] = {"pool": "default_pool", "execution_timeout": timedelta(minutes=15)}


def candidate(spec: ModelSpec) -> XComArg:
    """The version to ask about; skipped, with the reason, if there is nothing to ask any more."""
    return CandidateOperator(task_id="candidate", spec=spec).output


def approval(version: XComArg) -> XComArg:
    """A person's answer. Waiting takes no worker, no slot and no compute."""
    operator: Any = next(iter(version.iter_references()))[0]
    # Not a plain string: Airflow's form would ask for one before it lets anybody answer.
    comment = Param(None, type=["null", "string"], title="Comment", description="Why, for the ledger. Optional.")
    return ApprovalOperator(
        task_id="approval", spec=operator.spec, upstream=version, params={"comment": comment}
    ).output


class CandidateOperator(BaseOperator):
    """Finds the version that the run is about, and writes the question.

    Args:
        spec: The model's spec.
        **kwargs: Arguments of ``BaseOperator``.
    """

    def __init__(self, *, spec: ModelSpec, **kwargs: Any) -> None:
        super().__init__(**{**task_defaults(spec), **QUICK, **kwargs})
        self.spec = spec

    def execute(self, context: Context) -> dict[str, Any]:
        """Give the handover of the version's night; the question goes to XCom beside it.

        Raises:
            AirflowSkipException: There is no such version, or it is settled or superseded.
            AirflowFailException: Trying again cannot help: something stored is damaged.
            NightshiftError: Trying again may help.
        """
        try:
            handover, question = self._find(context)
            if (reason := question.settled()) is not None:
                raise AirflowSkipException(reason)
            body = question.body(report=_report_page(context), timeout=self.spec.approval_timeout)
        except NightshiftError as error:
            if error.retryable:
                raise
            raise AirflowFailException(str(error)) from None
        for key, text in (("subject", question.subject()), ("body", body)):
            context["ti"].xcom_push(key=key, value=text)
        return handover.to_dict()

    def _find(self, context: Context) -> tuple[Handover, Question]:
        """The version that was announced; without an announcement that of the run's night, or the newest."""
        from nightshift.jobs import PublishedPlan, make_plan, publish
        from nightshift.report.approval import Question
        from nightshift.settings import Settings
        from nightshift.stage import StageResult
        from nightshift.storage import Ref, Store
        from nightshift_airflow.handover import Handover

        run, settings = context["dag_run"], Settings.from_environment()
        event = _announced(context, self.spec)
        if event is None:
            store = Store.open(settings.storage, env=settings.env, model=self.spec.model)
            interval = self._asked_for(context)
            question = Question.find(store, self.spec.model, interval)
            if question is None:
                which = f"Night {interval.night} of {self.spec.model}" if interval else self.spec.model
                raise AirflowSkipException(f"{which} has no version that passed its gates.")
        else:
            store = Store.of(PublishedPlan(**event["plan"]).load())
            question = Question(store, self.spec.model, store.resolve(Ref(**event["refs"]["register"])))
        interval = question.candidate.interval
        plan = make_plan(self.spec, interval, settings, run_id=run.run_id, trigger=trigger_of(run))
        if event is not None:
            # The promotion happens where the night has published, whatever the settings say by now.
            origin = PublishedPlan(**event["plan"]).load()
            plan = replace(plan, storage=origin.storage, env=origin.env)
        results = {stage: StageResult.of(store.resolve(ref), reused=False) for stage, ref in question.refs.items()}
        self.log.info("v%d of night %s", question.candidate.model_version, interval.night)
        return Handover(publish(plan), interval.night.isoformat(), results), question

    def _asked_for(self, context: Context) -> Interval | None:
        """The night of the form, or of ``airflow dags test``; None for whichever is the newest."""
        run, night = context["dag_run"], context["params"].get("night")
        return interval_of(run, night=night) if night or is_dags_test(run) else None


class ApprovalOperator(HITLOperator):
    """Asks a person on the task's page in Airflow; in ``airflow dags test`` the param ``approve`` answers.

    Args:
        spec: The model's spec.
        upstream: What ``candidate`` gave.
        **kwargs: Arguments of ``HITLOperator``.
    """

    template_fields = (*HITLOperator.template_fields, "upstream")

    def __init__(self, *, spec: ModelSpec, upstream: XComArg, **kwargs: Any) -> None:
        asked = {key: f"{{{{ ti.xcom_pull(task_ids='candidate', key='{key}') }}}}" for key in ("subject", "body")}
        # Airflow loses an answer that comes within the second in which the task parks: then it asks again.
        again = {"retries": max(spec.retries, 1)}
        super().__init__(
            **{**task_defaults(spec), **QUICK, **again, **asked, **kwargs},
            options=[APPROVE, REJECT],
            defaults=REJECT,
            response_timeout=spec.approval_timeout,
        )
        self.spec = spec
        self.upstream = upstream

    def execute(self, context: Context) -> dict[str, Any]:
        """Ask; Airflow calls ``execute_complete`` with the answer.

        Raises:
            AirflowSkipException: ``airflow dags test`` was not told what to answer.
            AirflowFailException: A run with somebody to ask was told what to answer.
        """
        answer = context["params"].get("approve")
        if is_dags_test(context["dag_run"]) and "test" in sys.argv:
            if answer is None:
                raise AirflowSkipException(
                    "airflow dags test has nobody to ask, so nothing is promoted. To answer: "
                    """--conf '{"approve": true}', or false."""
                )
            return self._settle(answer, by=getpass.getuser(), comment="answered in airflow dags test")
        if answer is not None:
            raise AirflowFailException(
                "the param approve is for airflow dags test; here, somebody answers on the page of this task.\n"
                "  Hint: trigger the DAG without it"
            )
        notify_question(context, self.spec, subject=self.subject, link=self._page(context))
        waiting: dict[str, Any] = super().execute(context)
        return waiting

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Give the handover with the answer.

        Raises:
            HITLTriggerEventError: Airflow could not get an answer.
        """
        answer = super().execute_complete(context, event)
        approved = answer["chosen_options"] == [APPROVE]
        user = answer["responded_by_user"]
        if user is None:
            waited = format_duration(self.spec.approval_timeout)
            return self._settle(False, by=None, comment=f"Nobody answered within {waited}.")
        comment = str((answer["params_input"] or {}).get("comment") or "").strip()
        return self._settle(approved, by=_name(user), comment=comment)

    def _settle(self, approved: bool, *, by: str | None, comment: str) -> dict[str, Any]:
        from nightshift.plan import Approval
        from nightshift_airflow.handover import Handover

        assert isinstance(self.upstream, Mapping), "Airflow renders template fields before it executes"
        self.log.info("%s by %s. %s", "approved" if approved else "rejected", by or "nobody", comment)
        given = Approval(approved, by, comment)
        return replace(Handover.from_dict(self.upstream), approval=given).to_dict()

    def _page(self, context: Context) -> str:
        """Where to answer."""
        return self.generate_link_to_ui_from_context(context=context)


def _announced(context: Context, spec: ModelSpec) -> dict[str, Any] | None:
    """The newest of the events that caused the run; None if no event did."""
    told = [(event.extra["night"], event.timestamp, event.extra) for event in _events(context, spec)]
    return max(told, key=lambda one: one[:2])[2] if told else None


def _events(context: Context, spec: ModelSpec) -> Sequence[Any]:
    try:
        events: Sequence[Any] = context["triggering_asset_events"][candidate_asset(spec)]
    except KeyError:
        return ()
    # Anybody may change an asset by hand: what register announced says which version it is.
    return [event for event in events if "refs" in (event.extra or {})]


def _report_page(context: Context) -> str:
    """The tab of this run that shows the report of the version's night."""
    ti, base = context["ti"], (conf.get("api", "base_url", fallback="") or "").rstrip("/")
    return f"{base}/dags/{ti.dag_id}/runs/{ti.run_id}/plugin/nightshift-report"


def _name(user: Mapping[str, str]) -> str:
    """Who it was, as Airflow's users are known; their id too where it says something else."""
    return user["name"] if user["name"] == user["id"] else f"{user['name']} (id {user['id']})"

"""``approval: manual``: the night ends with register, and a DAG of its own asks a person."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from tests.dags.test_dag_integrity import HEAVY
from tests.dags.test_dag_shape import shape
from tests.dags.test_stage_operator import webhook
from tests.fakes.shipped_nights import judged
from tests.fakes.tiny_model import write_model
from tests.fakes.trained_night import Night

from nightshift.jobs import publish

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag

    from nightshift_airflow.promotion import ApprovalOperator

ROOT = Path(__file__).parent.parent.parent
PROMOTION = """\
candidate >> approval
approval >> deploy
deploy
"""
RETRAINING = """\
ingest >> validate
validate >> preprocess
preprocess >> train
train >> evaluate
evaluate >> register
register
"""


@pytest.fixture
def manual(dags_folder: Path) -> Path:
    """DAGs with one model that waits for a person, and one that does not."""
    spec = write_model(dags_folder.parent, model="parcels", days=0) / "parcels.yaml"
    spec.write_text(spec.read_text() + "approval: manual\napproval_timeout: 36h\n")
    write_model(dags_folder.parent, model="letters", days=0)
    return dags_folder


@pytest.fixture
def bag(manual: Path, read_dags: Callable[[Path], DagBag]) -> DagBag:
    found = read_dags(manual)
    assert found.import_errors == {}
    return found


def test_only_who_waits_for_a_person_has_a_promotion(bag: DagBag) -> None:
    assert {name for name in bag.dags if name.endswith("__promotion")} == {"parcels__promotion"}
    assert shape(bag.dags["parcels__promotion"]) == PROMOTION
    assert shape(bag.dags["parcels__retraining"]) == RETRAINING
    assert shape(bag.dags["letters__retraining"]).endswith("register >> deploy\ndeploy\n")
    assert "a person approves" in str(bag.dags["parcels__retraining"].doc_md)
    assert "a person approves" not in str(bag.dags["letters__retraining"].doc_md)


def test_register_announces_what_the_promotion_waits_for(bag: DagBag) -> None:
    from airflow.sdk import Asset, AssetAlias

    dag = bag.dags["parcels__promotion"]
    waits_for: Any = dag.timetable.asset_condition.objects
    assert [asset.uri for asset in waits_for] == ["x-nightshift://parcels/candidate"]
    outlets = {task.task_id: task.outlets for task in bag.dags["parcels__retraining"].tasks if task.outlets}
    assert [type(one) for one in outlets.pop("register")] == [AssetAlias]
    assert outlets == {}
    (champion,) = dag.get_task("deploy").outlets
    assert isinstance(champion, Asset)
    assert champion.uri == "x-nightshift://parcels/champion"


def test_waiting_holds_no_slot_of_jobs_and_keeps_nobody_else_waiting(bag: DagBag) -> None:
    dag = bag.dags["parcels__promotion"]
    assert dag.max_active_runs > 1, "the next night's question must be asked while this one waits"
    assert {task.task_id: task.pool for task in dag.tasks} == {
        "candidate": "default_pool",
        "approval": "default_pool",
        "deploy": "nightshift_local",
    }
    approval: Any = dag.get_task("approval")
    assert approval.response_timeout == timedelta(hours=36)
    assert (approval.options, approval.defaults) == (["Approve", "Reject"], ["Reject"])
    assert all(task.execution_timeout for task in dag.tasks)


def test_a_comment_may_be_left_out(bag: DagBag) -> None:
    approval: Any = bag.dags["parcels__promotion"].get_task("approval")
    assert list(approval.serialized_params) == ["comment"], "the DAG's own params are no part of the answer"
    assert approval.serialized_params["comment"]["value"] is None
    assert "null" in approval.serialized_params["comment"]["schema"]["type"]


def test_the_dag_is_serialised_small_and_without_the_spec(bag: DagBag) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    text = json.dumps(DagSerialization.to_dict(bag.dags["parcels__promotion"]))
    assert "SELECT" not in text
    assert len(text) < 20_000


def test_parsing_with_a_model_that_waits_imports_no_heavy_library(manual: Path) -> None:
    code = f"""
import sys
sys.path[:0] = [{str(manual)!r}]
import airflow.sdk, airflow.plugins_manager
before = set(sys.modules)
import promotion, retraining
print(*sorted(name for name in {[*HEAVY, "fastapi", "sqlalchemy", "airflow.models"]!r} if name in sys.modules and name not in before))
"""
    paths = os.pathsep.join((str(ROOT / "plugins"), str(ROOT / "include")))
    environ = {**os.environ, "PYTHONPATH": paths, "PYTHONWARNINGS": "ignore"}
    found = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[-1] == ""


def test_the_dag_file_speaks_of_models_not_of_airflow() -> None:
    text = (ROOT / "dags" / "promotion.py").read_text()
    assert len(text.splitlines()) <= 40
    assert not re.search(r"task_id|Operator\(|XCom|>>", text)


# -- the candidate ---------------------------------------------------------------------------------------


class TaskInstance(SimpleNamespace):
    dag_id, run_id, task_id, try_number = "parcels__promotion", "r1", "candidate", 1

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed = {**getattr(self, "pushed", {}), key: value}


def looking(events: tuple[Any, ...] = (), *, user: str = "paula", night: str | None = None) -> dict[str, Any]:
    """What a run of the promotion knows: why it runs, and what its form says."""
    from nightshift_airflow.assets import candidate

    moment = datetime(2024, 3, 3, 2, tzinfo=UTC)
    run = {"run_id": "r1", "run_type": "manual", "run_after": moment, "data_interval_end": moment}
    return {
        "dag_run": SimpleNamespace(**run, triggering_user_name=user),
        "params": {"night": night},
        "ti": TaskInstance(),
        "triggering_asset_events": {candidate(SimpleNamespace(model="parcels")): events},  # type: ignore[arg-type]
    }


@pytest.fixture
def find(bag: DagBag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Any, dict[str, str]]]:
    """Run the task candidate; gives its handover and what it pushed."""
    from nightshift_airflow.handover import Handover

    monkeypatch.setenv("NIGHTSHIFT_STORAGE", (tmp_path / "store").as_uri())
    monkeypatch.setenv("NIGHTSHIFT_ENV", "test")
    operator: Any = bag.dags["parcels__promotion"].get_task("candidate")

    def run(about: dict[str, Any]) -> tuple[Any, dict[str, str]]:
        told = operator.execute(about)
        return Handover.from_dict(told), about["ti"].pushed

    return run


def announced(night: Night) -> SimpleNamespace:
    """The event that register would have made."""
    plan = publish(night.plan)
    refs = {stage: asdict(ref) for stage, ref in night.io.upstream.items()}
    extra = {"night": str(night.plan.interval.night), "plan": asdict(plan), "refs": refs}
    return SimpleNamespace(extra=extra, timestamp=datetime(2024, 3, 3, tzinfo=UTC))


Find = Callable[..., tuple[Any, dict[str, str]]]


def test_the_question_is_about_the_version_that_was_announced(find: Find, tmp_path: Path) -> None:
    night = judged(tmp_path, 1, approval="manual")
    handover, pushed = find(looking((announced(night),)))
    assert handover.refs["register"] == night.io.upstream["register"]
    assert set(handover.refs) >= {"train", "evaluate", "register"}
    plan = handover.plan.load()
    assert (plan.storage, plan.interval, plan.run_id) == (night.plan.storage, night.plan.interval, "r1")
    assert pushed["subject"] == f"parcels: may v1 of night {night.plan.interval.night} ship?"
    assert "/dags/parcels__promotion/runs/r1/plugin/nightshift-report" in pushed["body"]


def test_of_several_announcements_the_newest_night_counts(find: Find, tmp_path: Path) -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    first, second = judged(tmp_path, 1, approval="manual"), judged(tmp_path, 2, approval="manual")
    by_hand = SimpleNamespace(extra={}, timestamp=datetime(2030, 1, 1, tzinfo=UTC))
    handover, _ = find(looking((announced(second), announced(first), by_hand)))
    assert handover.night == str(second.plan.interval.night)
    with pytest.raises(AirflowSkipException, match="Superseded: v2 of the newer night"):
        find(looking((announced(first),)))


def test_by_hand_it_is_the_newest_or_that_of_the_night_in_the_form(find: Find, tmp_path: Path) -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    with pytest.raises(AirflowSkipException, match="parcels has no version that passed its gates"):
        find(looking())
    night = judged(tmp_path, 1, approval="manual")
    assert find(looking())[0].night == str(night.plan.interval.night)
    assert find(looking(night=str(night.plan.interval.night)))[0].refs["train"] == night.io.upstream["train"]
    with pytest.raises(AirflowSkipException, match="Night 2024-02-01 of parcels has no version that passed its gates"):
        find(looking(night="2024-02-01"))
    with pytest.raises(AirflowSkipException, match="Night 2024-03-03 of parcels has no version"):
        find(looking(user="dag_test"))


# -- the answer ------------------------------------------------------------------------------------------

GIVEN = {
    "plan": {"uri": "file:///plan.json", "sha256": "d"},
    "night": "2024-05-05",
    "results": {
        "register": {
            "stage": "register", "status": "succeeded", "ref": None, "reused": False, "summary": {}, "reason": None
        }
    },
}  # fmt: skip


def asked(bag: DagBag) -> ApprovalOperator:
    operator: Any = bag.dags["parcels__promotion"].get_task("approval")
    operator.upstream = GIVEN  # Airflow renders the XComArg
    return operator  # type: ignore[no-any-return]


def response(option: str, user: dict[str, str] | None, comment: str = "", *, timedout: bool = False) -> dict[str, Any]:
    return {
        "chosen_options": [option],
        "params_input": {"comment": comment},
        "responded_at": datetime(2024, 5, 5, tzinfo=UTC),
        "responded_by_user": user,
        "timedout": timedout,
    }


@pytest.mark.parametrize(
    ("event", "approval"),
    [
        (
            response("Approve", {"id": "paula", "name": "paula"}, " Fine. "),
            {"approved": True, "by": "paula", "comment": "Fine."},
        ),
        (
            response("Reject", {"id": "7", "name": "Otto Maier"}),
            {"approved": False, "by": "Otto Maier (id 7)", "comment": ""},
        ),
        (
            response("Reject", None, timedout=True),
            {"approved": False, "by": None, "comment": "Nobody answered within 36h."},
        ),
    ],
)
def test_the_answer_goes_on_with_the_name_of_who_gave_it(
    bag: DagBag, event: dict[str, Any], approval: dict[str, Any]
) -> None:
    told = asked(bag).execute_complete({}, event)  # type: ignore[arg-type]
    assert told["approval"] == approval
    assert {key: told[key] for key in GIVEN} == GIVEN


def context(user: str, approve: bool | None) -> dict[str, Any]:
    return {"params": {"approve": approve}, "dag_run": SimpleNamespace(triggering_user_name=user)}


def test_dags_test_answers_by_its_conf_and_never_by_itself(bag: DagBag, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

    operator = asked(bag)
    monkeypatch.setattr(sys, "argv", ["airflow", "dags", "test", "parcels__promotion"])
    assert operator.execute(context("dag_test", True))["approval"]["approved"] is True  # type: ignore[arg-type]
    assert operator.execute(context("dag_test", False))["approval"]["approved"] is False  # type: ignore[arg-type]
    with pytest.raises(AirflowSkipException, match="has nobody to ask"):
        operator.execute(context("dag_test", None))  # type: ignore[arg-type]
    with pytest.raises(AirflowFailException, match="is for airflow dags test"):
        operator.execute(context("paula", True))  # type: ignore[arg-type]
    # A user may be called like Airflow's own name for such runs.
    monkeypatch.setattr(sys, "argv", ["airflow", "scheduler"])
    with pytest.raises(AirflowFailException, match="is for airflow dags test"):
        operator.execute(context("dag_test", True))  # type: ignore[arg-type]


def test_the_webhook_hears_of_a_question_and_where_to_answer_it(bag: DagBag, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.providers.standard.operators.hitl import HITLOperator

    from nightshift.spec.models import Notify

    operator: Any = asked(bag)
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://airflow.example.com")
    monkeypatch.setattr(HITLOperator, "execute", lambda self, context: {"asked": self.subject})
    operator.subject = "parcels: may v3 of night 2024-05-05 ship?"
    operator.spec = operator.spec.model_copy(update={"notify": Notify(connection="team_hook")})
    ti = SimpleNamespace(dag_id="parcels__promotion", run_id="r1", task_id="approval", map_index=-1)
    run = {**context("paula", None), "task": operator, "ti": ti, "task_instance": ti}
    with webhook() as (url, bodies):
        monkeypatch.setenv("AIRFLOW_CONN_TEAM_HOOK", json.dumps({"conn_type": "http", "host": url}))
        assert operator.execute(run) == {"asked": operator.subject}
    (body,) = bodies
    assert (body["event"], body["model"], body["dag_id"]) == ("approval", "parcels", "parcels__promotion")
    assert body["link"].startswith(
        "http://airflow.example.com/dags/parcels__promotion/runs/r1/tasks/approval/required_actions"
    )
    assert body["text"] == f"{operator.subject}\n{body['link']}"

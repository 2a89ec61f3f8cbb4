"""``approval: manual`` on a real Airflow: asked, approved, overtaken, rejected, not answered."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest
from tests.fakes.airflow_server import Airflow, edit, eventually
from tests.fakes.tiny_model import write_model

from nightshift.ledger import Entry, Ledger
from nightshift.storage import Store

pytestmark = [pytest.mark.airflow, pytest.mark.jvm, pytest.mark.long]

NIGHTS = ["2024-03-02", "2024-03-03", "2024-03-04"]
RETRAINING, PROMOTION = "parcels__retraining", "parcels__promotion"


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    installation = Airflow(tmp_path_factory.mktemp("server"))
    write_model(installation.root, days=16)
    edit(installation.models / "parcels.yaml", 'schedule: "0 2 * * *"\n', "approval: manual\n")
    try:
        installation.start()
        for dag in (RETRAINING, PROMOTION):
            installation.unpause(dag)
        yield installation
    finally:
        installation.stop()


def entries(airflow: Airflow) -> list[Entry]:
    store = Store.open((airflow.root / "nightshift" / "store").as_uri(), env="dev", model="parcels")
    return Ledger(store).entries()


def retrain(airflow: Airflow, night: str) -> None:
    state, tasks = airflow.wait(RETRAINING, airflow.trigger(RETRAINING, night))
    assert state == "success", tasks
    assert "deploy" not in tasks


def waiting(airflow: Airflow) -> dict[str, dict[str, Any]]:
    """Questions by the run that asks."""
    path = f"/dags/{PROMOTION}/dagRuns/~/hitlDetails?state=awaiting_input"
    details = airflow.call("GET", path)["hitl_details"]
    return {detail["task_instance"]["dag_run_id"]: detail for detail in details}


def question_about(airflow: Airflow, version: int) -> tuple[str, dict[str, Any]]:
    def look() -> list[tuple[str, dict[str, Any]]]:
        return [found for found in waiting(airflow).items() if f"may v{version} of" in found[1]["subject"]]

    def is_parked(line: str) -> bool:
        return "Received executor event" in line and "task_id='approval'" in line and f"'{run}'" in line

    run, asked = eventually(look, what=f"somebody is asked about v{version}")[0]
    # Airflow fails a task whose answer comes before its scheduler has seen it park; no person is as quick as a test.
    log = airflow.root / "scheduler.log"
    eventually(lambda: any(map(is_parked, log.read_text().splitlines())), what=f"{run} is parked")
    return run, asked


def reply(airflow: Airflow, run: str, option: str, *, user: str, comment: str | None = None) -> httpx.Response:
    path = f"/api/v2/dags/{PROMOTION}/dagRuns/{run}/taskInstances/approval/-1/hitlDetails"
    return httpx.patch(
        f"{airflow.url}{path}",
        json={"chosen_options": [option], "params_input": {"comment": comment}},
        headers={"Authorization": f"Bearer {airflow.token(user)}"},
        timeout=30,
    )


def test_a_named_person_approves_and_the_ledger_knows_it(airflow: Airflow) -> None:
    retrain(airflow, NIGHTS[0])
    run, asked = question_about(airflow, 1)
    assert run.startswith("asset_triggered__")
    assert asked["subject"] == "parcels: may v1 of night 2024-03-02 ship?"
    for fact in ("| v1 |", "first champion", "**No answer** within 3d", f"/runs/{run}/plugin/nightshift-report"):
        assert fact in asked["body"]
    pools = {pool["name"]: pool for pool in airflow.call("GET", "/pools")["pools"]}
    assert {pool["occupied_slots"] for pool in pools.values()} == {0}, "who waits holds nothing"
    assert entries(airflow) == []

    assert reply(airflow, run, "Approve", user="vera").status_code == 403
    assert reply(airflow, run, "Approve", user="paula", comment="Looked at the slices.").status_code == 200
    state, tasks = airflow.wait(PROMOTION, run)
    assert (state, set(tasks.values())) == ("success", {"success"}), airflow.log(PROMOTION, run, "deploy")[-8:]
    (entry,) = entries(airflow)
    assert (entry.kind, entry.to_version, entry.by, entry.by_a_person) == ("promotion", 1, "paula", True)
    assert entry.reason.endswith("Approved: Looked at the slices.")
    page = httpx.get(
        f"{airflow.url}/nightshift/dags/{PROMOTION}/report",
        params={"run_id": run},
        headers={"Authorization": f"Bearer {airflow.token('vera')}"},
        timeout=30,
    )
    assert page.status_code == 200
    assert "Promoted" in page.text


def test_a_question_blocks_no_night_and_the_newer_version_overtakes_it(airflow: Airflow) -> None:
    retrain(airflow, NIGHTS[1])
    older, _ = question_about(airflow, 2)
    retrain(airflow, NIGHTS[2])
    newer, _ = question_about(airflow, 3)
    assert set(waiting(airflow)) == {older, newer}, "neither keeps the other from being asked"
    assert reply(airflow, older, "Approve", user="paula").status_code == 200
    state, tasks = airflow.wait(PROMOTION, older)
    assert (state, tasks["approval"], tasks["deploy"]) == ("success", "success", "skipped")
    assert any(
        "Superseded: v3 of the newer night 2024-03-04" in line for line in airflow.log(PROMOTION, older, "deploy")
    )
    assert [entry.kind for entry in entries(airflow)] == ["promotion"]


def test_no_answer_in_time_is_a_rejection_in_nobodys_name_and_can_be_asked_again(airflow: Airflow) -> None:
    run, _ = question_about(airflow, 3)
    with closing(sqlite3.connect(airflow.root / "airflow" / "airflow.db", timeout=30)) as database:
        database.execute(
            "UPDATE task_instance SET trigger_timeout = '2024-03-05 00:00:00.000000' "
            "WHERE task_id = 'approval' AND run_id = ?", (run,),
        )  # fmt: skip
        database.commit()
    state, tasks = airflow.wait(PROMOTION, run)
    assert (state, tasks["deploy"]) == ("success", "skipped")
    last = entries(airflow)[-1]
    assert (last.kind, last.about.model_version, last.by, last.by_a_person) == ("refusal", 3, run, False)
    assert last.reason == "Nobody answered within 3d."

    airflow.trigger(PROMOTION, NIGHTS[2])
    again, _ = question_about(airflow, 3)
    assert again != run
    assert reply(airflow, again, "Reject", user="paula", comment="Too close to the holidays.").status_code == 200
    state, tasks = airflow.wait(PROMOTION, again)
    assert (state, tasks["deploy"]) == ("success", "skipped")
    last = entries(airflow)[-1]
    assert (last.kind, last.about.model_version, last.to_version) == ("refusal", 3, 1)
    assert (last.by, last.by_a_person) == ("paula", True)
    assert last.reason == "Rejected by paula: Too close to the holidays."


def test_the_answer_of_dags_test_counts_nowhere_else(airflow: Airflow) -> None:
    before = entries(airflow)
    run = airflow.trigger(PROMOTION, NIGHTS[1], approve=True)
    state, tasks = airflow.wait(PROMOTION, run)
    assert (state, tasks["candidate"], tasks["approval"]) == ("failed", "success", "failed")
    assert any("is for airflow dags test" in line for line in airflow.log(PROMOTION, run, "approval"))
    assert entries(airflow) == before


def test_nobody_is_asked_about_a_refused_version(airflow: Airflow) -> None:
    edit(airflow.models / "parcels.yaml", "minimum: 0.6", "minimum: 0.99")
    asked = airflow.call("GET", f"/dags/{PROMOTION}/dagRuns")["total_entries"]
    retrain(airflow, NIGHTS[2])
    last = entries(airflow)[-1]
    assert (last.kind, last.by_a_person) == ("refusal", False)
    assert "0.99" in last.reason
    events = airflow.call("GET", "/assets/events")["asset_events"]
    announced = [event["extra"]["model_version"] for event in events if event["name"] == "parcels_candidate"]
    assert sorted(announced) == [1, 2, 3]
    assert airflow.call("GET", f"/dags/{PROMOTION}/dagRuns")["total_entries"] == asked

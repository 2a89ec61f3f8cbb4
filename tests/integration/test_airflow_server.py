"""A real Airflow (API server, scheduler, dag-processor) with two small models: nights through the REST API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest
from tests.fakes.airflow_server import Airflow, edit, eventually
from tests.fakes.tiny_model import write_model

pytestmark = [pytest.mark.airflow, pytest.mark.jvm, pytest.mark.long]

NIGHTS = ["2024-03-02", "2024-03-03", "2024-03-04"]
PARCELS, LETTERS = "parcels__retraining", "letters__retraining"


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    installation = Airflow(tmp_path_factory.mktemp("server"))
    write_model(installation.root, model="parcels", days=16)
    write_model(installation.root, model="letters", days=0)
    edit(installation.models / "parcels.yaml", 'schedule: "0 2 * * *"\n', "")
    edit(installation.models / "letters.yaml", "since: 2024-02-19", "since: 2024-02-19, until: 2024-03-04")
    try:
        installation.start()
        yield installation
    finally:
        installation.stop()


@pytest.fixture(scope="module")
def first_night(airflow: Airflow) -> str:
    airflow.unpause(PARCELS)
    run = airflow.trigger(PARCELS, NIGHTS[0])
    state, tasks = airflow.wait(PARCELS, run)
    assert state == "success", {task: airflow.log(PARCELS, run, task)[-8:] for task in tasks if tasks[task] == "failed"}
    return run


def test_a_night_triggered_through_the_api_ends_with_a_champion(airflow: Airflow, first_night: str) -> None:
    _, tasks = airflow.wait(PARCELS, first_night)
    assert set(tasks.values()) == {"success"}, tasks
    path = f"/dags/{PARCELS}/dagRuns/{first_night}/taskInstances/deploy/xcomEntries/return_value?deserialize=true"
    told = airflow.call("GET", path)["value"]
    assert (told["status"], told["night"]) == ("succeeded", NIGHTS[0])
    assert list(told["results"]) == ["ingest", "validate", "preprocess", "train", "evaluate", "register", "deploy"]
    assert any("train: succeeded" in line for line in airflow.log(PARCELS, first_night, "train"))
    events = airflow.call("GET", "/assets/events")["asset_events"]
    assert [event["extra"]["night"] for event in events] == [NIGHTS[0]]


def test_the_report_is_shown_to_those_who_may_see_the_run(airflow: Airflow, first_night: str) -> None:
    page = f"/nightshift/dags/{PARCELS}/report"

    def get(user: str | None, path: str = page, run: str = first_night) -> httpx.Response:
        headers = {"Authorization": f"Bearer {airflow.token(user)}"} if user else {}
        return httpx.get(f"{airflow.url}{path}", params={"run_id": run}, headers=headers, timeout=30)

    assert get(None).status_code == 401
    for user in ("admin", "vera"):
        shown = get(user)
        assert shown.status_code == 200
        assert shown.headers["content-type"].startswith("text/html")
        assert "parcels" in shown.text
        assert NIGHTS[0] in shown.text
        assert "default-src 'none'" in shown.headers["content-security-policy"]
    assert get("vera", run="no such run").status_code == 404
    assert get(None, run="no such run").status_code == 401
    assert get(None, path="/nightshift/dags/..%2F..%2Fetc/report").status_code in (401, 404)
    assert get("vera", path="/nightshift/dags/..%2F..%2Fetc/report").status_code in (403, 404)
    tabs = airflow.call("GET", "/plugins")["plugins"]
    assert [view["name"] for plugin in tabs for view in plugin["external_views"]] == ["Run report"]
    assert airflow.call("GET", "/plugins/importErrors")["import_errors"] == []


def test_a_failed_stage_is_cleared_after_a_fix_and_the_run_completes(airflow: Airflow, first_night: str) -> None:
    spec = airflow.models / "parcels.yaml"
    edit(spec, "between: [0, 100], mostly: 0.9}", "between: [0, 10], mostly: 0.9}")
    run = airflow.trigger(PARCELS, NIGHTS[1])
    state, tasks = airflow.wait(PARCELS, run)
    assert state == "failed"
    assert [task for task, ended in tasks.items() if ended == "failed"] == ["validate"]
    last = [line for line in airflow.log(PARCELS, run, "validate") if not line.startswith("::")][-1]
    assert last.startswith("validate failed.")
    assert "weight" in last
    edit(spec, "between: [0, 10], mostly: 0.9}", "between: [0, 100], mostly: 0.9}")
    cleared = {"dag_run_id": run, "only_failed": True, "dry_run": False}
    airflow.call("POST", f"/dags/{PARCELS}/clearTaskInstances", **cleared)
    state, tasks = airflow.wait(PARCELS, run)
    assert state == "success", tasks
    assert {ended for task, ended in tasks.items() if task != "deploy"} == {"success"}
    assert any("planning again" in line for line in airflow.log(PARCELS, run, "validate", attempt=2))
    assert not any("planning again" in line for line in airflow.log(PARCELS, run, "train", attempt=1))


def test_a_broken_spec_is_listed_and_the_healthy_stay_scheduled(airflow: Airflow) -> None:
    airflow.unpause(PARCELS)
    broken = airflow.models / "broken.yaml"
    broken.write_text((airflow.models / "parcels.yaml").read_text().replace("gates:", "gate:"))

    def errors() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = airflow.call("GET", "/importErrors")["import_errors"]
        return found

    (error,) = eventually(errors, what="the import error is listed")
    assert error["filename"].endswith("spec_errors.py")
    assert "broken.yaml" in error["stack_trace"]
    assert "gate" in error["stack_trace"]
    airflow.unpause(LETTERS)

    def scheduled() -> list[dict[str, Any]]:
        runs: list[dict[str, Any]] = airflow.call("GET", f"/dags/{LETTERS}/dagRuns?run_type=scheduled")["dag_runs"]
        return runs

    run = eventually(scheduled, what="the scheduler made a run of a healthy model")[0]["dag_run_id"]
    state, tasks = airflow.wait(LETTERS, run)
    assert (state, set(tasks.values())) == ("success", {"skipped"})
    assert any("skip" in line.lower() for line in airflow.log(LETTERS, run, "ingest"))
    for dag in (PARCELS, LETTERS):
        found = airflow.call("GET", f"/dags/{dag}")
        assert (found["is_stale"], found["has_import_errors"]) == (False, False)
    assert airflow.call("GET", f"/dags/{LETTERS}")["next_dagrun_run_after"] is not None
    broken.unlink()
    eventually(lambda: not errors(), what="the import error is gone")


def jobs_of(airflow: Airflow) -> list[psutil.Process]:
    """Guards and everything below them: whatever runs for a job of this installation."""
    found = []
    for process in psutil.process_iter():
        try:
            ours = process.environ().get("NIGHTSHIFT_HOME") == airflow.environ["NIGHTSHIFT_HOME"]
            if ours and "AIRFLOW_HOME" not in process.environ() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def with_java(airflow: Airflow) -> list[psutil.Process]:
    jobs = jobs_of(airflow)
    return jobs if any(job.name().startswith("java") for job in jobs) else []


@pytest.mark.parametrize("ending", ["marked failed", "kill -9 of the task"])
def test_a_task_that_ends_leaves_no_python_and_no_java(airflow: Airflow, first_night: str, ending: str) -> None:
    run = airflow.trigger(PARCELS, NIGHTS[2])
    java = eventually(lambda: with_java(airflow), what="a job has started Java")
    if ending == "marked failed":
        airflow.call("PATCH", f"/dags/{PARCELS}/dagRuns/{run}", state="failed")
    else:
        guard = next(job for job in java if any("guard.py" in part for part in job.cmdline()))
        psutil.Process(guard.ppid()).kill()
    eventually(lambda: not jobs_of(airflow), what="all of the job is gone", seconds=45)
    assert airflow.wait(PARCELS, run)[0] == "failed"

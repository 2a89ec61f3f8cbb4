"""The reaper ends what was left behind, as much of it as it may, and tells of each; what keeps it from that is told too."""

from __future__ import annotations

from typing import Any

import pytest
from tests.fakes import emr_night
from tests.fakes.aws import AwsDouble
from tests.fakes.emr_faults import hurry
from tests.fakes.emr_night import Night, emr_spec, tasks_of

from nightshift.errors import JobError
from nightshift_airflow.compute.emr import reaper
from nightshift_airflow.compute.emr.clusters import Clusters

pytestmark = pytest.mark.filterwarnings("ignore")  # Airflow and moto warn of themselves


@pytest.fixture
def double(double: AwsDouble, monkeypatch: pytest.MonkeyPatch) -> AwsDouble:
    """The same, and no real waiting."""
    hurry(monkeypatch, double)
    return double


@pytest.fixture
def night(double: AwsDouble) -> Night:
    """A night whose cluster and two more were left behind, and that is over."""
    night = Night(double, tasks_of(emr_spec()))
    night.run(until="cluster")
    asked = double.journal.sent("RunJobFlow")
    for _ in range(2):
        double.client("emr").run_job_flow(**asked)
    night.over = True
    return night


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the models' webhooks hear."""
    heard: list[str] = []
    monkeypatch.setattr(reaper, "notify_leak", lambda context, model, settings, reason: heard.append(reason))
    return heard


def test_each_is_ended_and_told(night: Night, told: list[str]) -> None:
    assert len(night.reap()) == 3
    assert night.alive() == []
    assert len(told) == 3
    assert all("its run has ended" in one for one in told)


def hide(double: AwsDouble, monkeypatch: pytest.MonkeyPatch, hidden: str) -> None:
    """Refuse to describe one cluster, and no other."""
    real = Clusters.describe

    def describe(self: Clusters, cluster_id: str) -> Any:
        if cluster_id == hidden:
            double.inject.refuse("DescribeCluster", "AccessDeniedException")
        return real(self, cluster_id)

    monkeypatch.setattr(Clusters, "describe", describe)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_one_that_cannot_be_looked_at_keeps_no_other_alive(
    night: Night, double: AwsDouble, told: list[str], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    hidden = double.emr.clusters()[number].id
    hide(double, monkeypatch, hidden)
    with pytest.raises(JobError) as caught:
        night.reap()
    assert f"the cluster {hidden}, nightshift-dev-flight_delays-" in str(caught.value)
    assert "is not authorized to perform" in str(caught.value)
    assert [line.split(" ")[0] for line in night.alive()] == [hidden]
    assert len(told) == 2, "each find as it is ended, whatever comes after it"


def test_a_strangers_cluster_that_cannot_be_looked_at_is_a_strangers(
    night: Night, double: AwsDouble, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    strange = {**double.journal.of("RunJobFlow")[0].parameters, "Name": "somebody-elses", "Tags": []}
    hidden = double.client("emr").run_job_flow(**strange)["JobFlowId"]
    hide(double, monkeypatch, hidden)
    assert len(night.reap()) == 3
    assert [line.split(" ")[0] for line in night.alive()] == [hidden]


def test_one_that_would_not_go_is_told_and_the_others_are_ended(
    night: Night, double: AwsDouble, told: list[str]
) -> None:
    double.inject.refuse("TerminateJobFlows", "AccessDeniedException", calls=1)
    with pytest.raises(JobError, match="could not be ended"):
        night.reap()
    assert len(night.alive()) == 1
    assert len(told) == 3


def test_a_dry_run_ends_nothing_and_tells_no_webhook(
    night: Night, told: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = night.context

    def dry(name: str, number: int) -> Any:
        return {**real(name, number), "params": {"dry_run": True}}

    monkeypatch.setattr(night, "context", dry)
    assert len(night.reap()) == 3
    assert len(night.alive()) == 3
    assert told == []
    assert caplog.text.count("would be ended") == 3


def test_the_reaper_asks_about_the_run_that_it_was(
    double: AwsDouble, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow's ids take what AWS's tags do not."""
    run_id = "manual__a~b=c+01:00"
    monkeypatch.setattr(emr_night, "RUN", run_id)
    night = Night(double, tasks_of(emr_spec()))
    night.run(until="cluster")
    asked: list[tuple[str, str]] = []

    def state(dag_id: str, run_id: str) -> str:
        asked.append((dag_id, run_id))
        return "failed"

    context: Any = night.context("reap_clusters", 1)
    context["ti"].get_dagrun_state = state
    [found] = reaper.ReaperOperator(task_id="reap_clusters").execute(context)["reaped"]
    assert asked == [("flight_delays__retraining", run_id)]
    assert found["run_id"] == run_id

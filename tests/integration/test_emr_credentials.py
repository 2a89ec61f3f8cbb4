"""Credentials run out in the middle of a task. What comes after, from the request that was refused, is signed by the
new ones: a client that was made before would be refused for ever.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from tests.fakes.aws import AwsDouble, requests
from tests.fakes.emr_night import emr_spec

from nightshift.emr_settings import EmrSettings
from nightshift.jobs import make_plan
from nightshift.plan import resolve_interval
from nightshift.settings import Settings
from nightshift_airflow.compute.emr import account
from nightshift_airflow.compute.emr.account import Account
from nightshift_airflow.compute.emr.clusters import Clusters
from nightshift_airflow.compute.emr.preflight import check

pytestmark = pytest.mark.filterwarnings("ignore")  # Airflow and moto warn of themselves

NOW = datetime(2026, 11, 20, tzinfo=UTC)


@pytest.fixture
def renewed(monkeypatch: pytest.MonkeyPatch) -> str:
    """The access key that the machine has from the first refusal on."""

    def renew(_: float) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "renewed")

    monkeypatch.setattr(account, "time", SimpleNamespace(monotonic=time.monotonic, sleep=renew))
    return "renewed"


def expire(double: AwsDouble, operation: str) -> None:
    double.journal.clear()
    double.inject.refuse(operation, "ExpiredTokenException")


def signed_since(double: AwsDouble, operation: str) -> set[str]:
    """Who signed what came after the refusal."""
    calls = list(double.journal)
    [refused] = [at for at, call in enumerate(calls) if call.error and call.operation == operation]
    assert calls[refused + 1].operation == operation, "it is asked again"
    return {call.key for call in calls[refused + 1 :]}


@pytest.mark.parametrize(
    "operation",
    [
        *("GetCallerIdentity", "ListReleaseLabels", "DescribeSecurityConfiguration", "HeadBucket"),
        *("GetRole", "GetInstanceProfile", "DescribeSubnets"),
    ],
)
def test_preflight(double: AwsDouble, renewed: str, operation: str) -> None:
    expire(double, operation)
    settings = Settings.from_environment()
    plan = make_plan(
        emr_spec(),
        resolve_interval(now=NOW, data_interval_end=None, night="2013-07-15"),
        settings,
        run_id="r",
        trigger="manual",
    )
    found = check(plan, settings, EmrSettings.from_environment(), Account("aws_default"))
    assert found["account"] == "123456789012"
    assert signed_since(double, operation) == {renewed}


@pytest.mark.parametrize("operation", ["SetTerminationProtection", "TerminateJobFlows"])
def test_ending_a_cluster(double: AwsDouble, renewed: str, operation: str) -> None:
    cluster = double.client("emr").run_job_flow(**requests.cluster())["JobFlowId"]
    if operation == "SetTerminationProtection":  # nobody asks for that where a cluster is not protected
        double.client("emr").set_termination_protection(JobFlowIds=[cluster], TerminationProtected=True)
    expire(double, operation)
    Clusters(Account("aws_default")).end(cluster)
    assert [one.id for one in double.alive() if one.state != "TERMINATING"] == []
    assert signed_since(double, operation) == {renewed}

"""Before a cluster is paid for: the roles that it runs as, and what whoever asks for it may do."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from nightshift.emr_settings import EmrSettings
from nightshift_airflow.compute.emr.account import NO_RETRIES
from nightshift_airflow.compute.emr.checks import Checks
from nightshift_airflow.compute.emr.identity import MANAGED_POLICIES, PROJECT

log = logging.getLogger(__name__)

# What the tasks call on clusters, and what RunJobFlow asks for by itself; the policy in docs/emr.md allows it.
ON_CLUSTERS = (
    "elasticmapreduce:RunJobFlow",
    "elasticmapreduce:AddTags",
    "elasticmapreduce:PutAutoTerminationPolicy",
    "elasticmapreduce:PutManagedScalingPolicy",
    "elasticmapreduce:AddJobFlowSteps",
    "elasticmapreduce:DescribeCluster",
    "elasticmapreduce:DescribeStep",
    "elasticmapreduce:ListClusters",
    "elasticmapreduce:ListSteps",
    "elasticmapreduce:CancelSteps",
    "elasticmapreduce:SetTerminationProtection",
    "elasticmapreduce:TerminateJobFlows",
)
FIND = "create it, or correct NIGHTSHIFT_EMR_{variable}"


@dataclass(frozen=True)
class Passed:
    """ARNs of the roles that are passed when a cluster is created; None of one that was not found.

    Attributes:
        service: To EMR itself.
        nodes: To the nodes.
        jobs: What steps act as: the nodes' role, or one of their own.
    """

    service: str | None
    nodes: str | None
    jobs: str | None


def check_roles(checks: Checks, emr: EmrSettings) -> Passed:
    """Service role, runtime role, instance profile: that they are there, and are the ones that are meant."""
    service = _role(checks, "SERVICE_ROLE", emr.service_role)
    own = None if emr.runtime_role is None else _role(checks, "RUNTIME_ROLE", emr.runtime_role)
    nodes = _nodes_role(checks, emr.instance_profile)
    return Passed(service, nodes, nodes if emr.runtime_role is None else own)


def _role(checks: Checks, variable: str, wanted: str) -> str | None:
    iam = partial(checks.account.client, "iam")
    found = checks.ask(
        f"find the role {wanted}",
        lambda: iam().get_role(RoleName=wanted.rpartition("/")[2])["Role"],
        FIND.format(variable=variable),
    )
    return None if found is None else _meant(checks, variable, wanted, str(found["Arn"]))


def attached_policies(checks: Checks, role: str) -> list[str]:
    """Names of the policies that are attached to a role; none where AWS does not say."""
    found = checks.ask(
        f"list the policies of the role {role}",
        lambda: checks.account.client("iam").list_attached_role_policies(RoleName=role.rpartition("/")[2]),
        FIND.format(variable="SERVICE_ROLE"),
    )
    return [] if found is None else [str(each["PolicyName"]) for each in found["AttachedPolicies"]]


def _nodes_role(checks: Checks, wanted: str) -> str | None:
    """The role in the instance profile: what the nodes act as."""
    variable = "INSTANCE_PROFILE"
    found = checks.ask(
        f"find the instance profile {wanted}",
        lambda: checks.account.client("iam").get_instance_profile(InstanceProfileName=wanted.rpartition("/")[2]),
        FIND.format(variable=variable),
    )
    if found is None or _meant(checks, variable, wanted, str(found["InstanceProfile"]["Arn"])) is None:
        return None
    roles = found["InstanceProfile"]["Roles"]
    if not roles:
        checks.add(
            f"the instance profile {wanted} has no role, so nodes could reach nothing: add the nodes' role to it, or "
            f"correct NIGHTSHIFT_EMR_{variable}"
        )
        return None
    return str(roles[0]["Arn"])


def _meant(checks: Checks, variable: str, wanted: str, arn: str) -> str | None:
    """The ARN, if it is what the variable says: IAM finds by the last part of a name, whatever account and path."""
    same = arn == wanted if wanted.startswith("arn:") else "/" not in wanted or arn.endswith(f"/{wanted}")
    if same:
        return arn
    checks.add(f"NIGHTSHIFT_EMR_{variable} is {wanted}, and the one of this account is {arn}: correct the variable")
    return None


# -- what the caller may do ----------------------------------------------------------------------------------


def check_rights(checks: Checks, caller: str, env: str, passed: Passed) -> None:
    """Whether the policies of whoever this is allow what the tasks ask EMR for.

    Args:
        checks: Gets what is wrong.
        caller: Its ARN.
        env: Environment prefix: the policies go by the tags of clusters.
        passed: The roles that are passed when a cluster is created.
    """
    principal = _principal(checks, caller)
    if principal is None:
        return
    _, partition, _, _, number, _ = caller.split(":", 5)
    # Without a cluster only statements that are for everything would be looked at.
    cluster = f"arn:{partition}:elasticmapreduce:{checks.account.region}:{number}:cluster/j-0000000000000"
    tags = {"project": PROJECT, "env": env, MANAGED_POLICIES: "true"}
    said = {
        f"{service}:{kind}/{tag}": value
        for service in ("aws", "elasticmapreduce")
        for kind in ("RequestTag", "ResourceTag")
        for tag, value in tags.items()
    }
    _simulate(checks, principal, ON_CLUSTERS, cluster, said)
    for role, service in ((passed.service, "elasticmapreduce"), (passed.nodes, "ec2")):
        if role is not None:
            to = {"iam:PassedToService": f"{service}.amazonaws.com"}
            _simulate(checks, principal, ["iam:PassRole"], role, to, of=f" of {role}")


def check_rights_of_nodes(checks: Checks, emr: EmrSettings, storage: str, passed: Passed) -> None:
    """Whether nodes may fetch code and write logs, and jobs read and write storage, as far as their policies say."""
    wanted = (
        (passed.nodes, "node", ["s3:GetObject"], emr.code),
        (passed.nodes, "node", ["s3:PutObject"], emr.log_uri),
        (passed.jobs, "storage", ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], storage),
    )
    for role, policy, actions, place in wanted:
        if role is not None and place.startswith("s3://"):
            partition = role.split(":", 2)[1]
            thing = f"arn:{partition}:s3:::{place.removeprefix('s3://').rstrip('/')}/object"
            _simulate(checks, role, actions, thing, {}, of=f" below {place}", policy=f"docs/aws/policies/{policy}.json")


def _principal(checks: Checks, caller: str) -> str | None:
    """What the policies hang on: of a session its role, whose path the session's ARN leaves out."""
    assumed = re.fullmatch(r"assumed-role/([^/]+)/.*", caller.split(":", 5)[5])
    if assumed is None:
        return caller
    role = checks.ask(
        f"find the role {assumed[1]}, which this task runs as, to check its rights",
        lambda: checks.account.client("iam").get_role(RoleName=assumed[1])["Role"],
        "check the connection",
    )
    return None if role is None else str(role["Arn"])


def _simulate(
    checks: Checks,
    principal: str,
    actions: Iterable[str],
    resource: str,
    said: Mapping[str, str],
    *,
    of: str = "",
    policy: str = "the orchestrator's policy",
) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    context: Any = [
        {"ContextKeyName": key, "ContextKeyValues": [value], "ContextKeyType": "string"} for key, value in said.items()
    ]
    try:
        answer = checks.account.client("iam", retries=NO_RETRIES).simulate_principal_policy(
            PolicySourceArn=principal, ActionNames=list(actions), ResourceArns=[resource], ContextEntries=context
        )
    except (BotoCoreError, ClientError) as error:
        log.warning("not checked: the rights of %s: %s", principal, error)
        return
    denied = [each["EvalActionName"] for each in answer["EvaluationResults"] if each["EvalDecision"] != "allowed"]
    if denied:
        checks.add(f"{principal} may not {', '.join(denied)}{of}: attach {policy} to it")

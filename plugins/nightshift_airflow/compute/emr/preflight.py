"""What can be known before anything is paid for: settings, names, rights, packages. All that is wrong, at once."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

from nightshift.emr_settings import EmrSettings
from nightshift.errors import SettingsError
from nightshift.settings import Settings
from nightshift.spec.engine_packages import EXTRAS
from nightshift.spec.models import ModelSpec
from nightshift.spec.problem import in_words
from nightshift.spec.rules import local_files
from nightshift_airflow.compute.emr.account import DENIED, NO_RETRIES, Account, Refused
from nightshift_airflow.compute.emr.identity import MANAGED_POLICIES, PROJECT
from nightshift_airflow.compute.emr.packages import dependencies, python_of, split

log = logging.getLogger(__name__)

T = TypeVar("T")
# What the tasks call; the policy in docs/emr.md allows it.
ACTIONS = (
    "elasticmapreduce:RunJobFlow",
    "elasticmapreduce:AddJobFlowSteps",
    "elasticmapreduce:DescribeCluster",
    "elasticmapreduce:DescribeStep",
    "elasticmapreduce:ListClusters",
    "elasticmapreduce:ListSteps",
    "elasticmapreduce:CancelSteps",
    "elasticmapreduce:SetTerminationProtection",
    "elasticmapreduce:TerminateJobFlows",
)


def check(spec: ModelSpec, settings: Settings, emr: EmrSettings, account: Account) -> dict[str, Any]:
    """Check everything; gives what was found, for people.

    Args:
        spec: The model's spec.
        settings: The environment.
        emr: The account's part of it.
        account: The account.

    Raises:
        SettingsError: Something is wrong; the message says all of it.
        JobError: AWS does not answer.
    """
    checks = Checks(account)
    checks.add(_on_paper(spec, settings, emr))
    label = spec.compute.emr.release_label or emr.release_label
    caller = checks.ask("ask who this is", lambda: account.client("sts").get_caller_identity(), "check the connection")
    checks.release(label)
    checks.security(emr)
    checks.roles(emr)
    checks.subnets(emr)
    for what, uri in {"NIGHTSHIFT_STORAGE": settings.storage, "NIGHTSHIFT_EMR_CODE": emr.code}.items():
        checks.bucket(what, uri)
    checks.bucket("NIGHTSHIFT_EMR_LOG_URI", emr.log_uri)
    checks.packages(emr, spec)
    if caller is not None:
        checks.rights(caller["Arn"], settings.env)
    checks.complain()
    return {"account": caller["Account"] if caller else None, "region": account.region, "release_label": label}


def _on_paper(spec: ModelSpec, settings: Settings, emr: EmrSettings) -> Iterator[str]:
    """What is wrong without asking anybody."""
    if not settings.storage.startswith("s3://"):
        yield f"NIGHTSHIFT_STORAGE is {settings.storage}, which a cluster cannot reach: use s3://bucket/prefix"
    for problem in local_files(spec):
        yield in_words(problem)
    everything = emr.stages_of(spec.compute.emr.stages) == "all"
    if everything and not settings.mlflow_uri.startswith(("http://", "https://", "arn:", "databricks")):
        yield (
            f"NIGHTSHIFT_MLFLOW_URI is {settings.mlflow_uri}, which a cluster cannot reach, and register is to run "
            "there: use an MLflow server, or NIGHTSHIFT_EMR_STAGES=to_evaluate"
        )


class Checks:
    """Asks AWS one thing after the other, and collects what is wrong.

    Args:
        account: The account.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self._problems: list[str] = []

    def add(self, problems: Iterator[str]) -> None:
        self._problems += problems

    def complain(self) -> None:
        """Raises SettingsError: There was anything to complain of."""
        if self._problems:
            raise SettingsError(
                "this night cannot run on EMR; nothing was started:\n  " + "\n  ".join(self._problems),
                hint="docs/emr.md says how to make what is missing",
            )

    def ask(self, what: str, request: Callable[[], T], fix: str, *, must: bool = False) -> T | None:
        """Ask; None where AWS refuses.

        Args:
            what: What is asked, for the message.
            request: Asks.
            fix: What to do where it is not there.
            must: Not to be allowed to ask is wrong too: the tasks need the same right.
        """
        try:
            return self._account.call(what, request)
        except Refused as error:
            if error.code in (*DENIED, "403") and not must:
                log.warning("not checked: %s", error.message)
            else:
                self._problems.append(f"{error.message}: {fix}")
        return None

    def release(self, label: str) -> None:
        """Raises JobError: AWS does not answer."""

        def released() -> list[str]:
            emr = self._account.hook.conn
            known = emr.list_release_labels(Filters={"Prefix": "emr-spark-8"}, MaxResults=100)["ReleaseLabels"]
            return [str(each) for each in known]

        known = self.ask("list EMR's releases", released, "check the region")
        if known is not None and label not in known:
            there = ", ".join(sorted(known)) or "none of that line"
            self._problems.append(
                f"EMR has no release {label} in {self._account.region}; it has {there}: "
                "set compute.emr.release_label or NIGHTSHIFT_EMR_RELEASE_LABEL"
            )

    def security(self, emr: EmrSettings) -> None:
        """The security configuration: that it is there, and asks for what is promised."""
        name = emr.security_configuration
        told = self.ask(
            f"look at the security configuration {name}",
            lambda: self._account.hook.conn.describe_security_configuration(Name=name)["SecurityConfiguration"],
            "create it, or name another in NIGHTSHIFT_EMR_SECURITY_CONFIGURATION",
        )
        if told is None:
            return
        asked = json.loads(told)
        metadata = asked.get("InstanceMetadataServiceConfiguration", {})
        if metadata.get("MinimumInstanceMetadataServiceVersion") != 2:
            self._problems.append(
                f"the security configuration {name} does not ask for IMDSv2: set "
                "InstanceMetadataServiceConfiguration.MinimumInstanceMetadataServiceVersion to 2"
            )
        scoped = asked.get("AuthorizationConfiguration", {}).get("IAMConfiguration", {})
        if emr.runtime_role and not scoped.get("EnableApplicationScopedIAMRole"):
            self._problems.append(
                f"NIGHTSHIFT_EMR_RUNTIME_ROLE is set, and the security configuration {name} does not allow runtime "
                "roles: set AuthorizationConfiguration.IAMConfiguration.EnableApplicationScopedIAMRole to true"
            )

    def roles(self, emr: EmrSettings) -> None:
        """Service role, instance profile, runtime role: that they are there."""
        for variable, role in (("SERVICE_ROLE", emr.service_role), ("RUNTIME_ROLE", emr.runtime_role)):
            if role is not None:
                name = role.rpartition("/")[2]
                fix = f"create it, or correct NIGHTSHIFT_EMR_{variable}"
                self.ask(f"find the role {role}", partial(self._role, name), fix)
        profile = emr.instance_profile.rpartition("/")[2]
        self.ask(
            f"find the instance profile {emr.instance_profile}",
            lambda: self._account.client("iam").get_instance_profile(InstanceProfileName=profile),
            "create it, or correct NIGHTSHIFT_EMR_INSTANCE_PROFILE",
        )

    def _role(self, name: str) -> Any:
        return self._account.client("iam").get_role(RoleName=name)

    def subnets(self, emr: EmrSettings) -> None:
        """That they are there."""
        self.ask(
            "find the subnets",
            lambda: self._account.client("ec2").describe_subnets(SubnetIds=list(emr.subnets)),
            "correct NIGHTSHIFT_EMR_SUBNETS, or check that the connection's region is theirs",
        )

    def bucket(self, variable: str, uri: str) -> None:
        """That the bucket is there, and may be used."""
        if not uri.startswith("s3://"):
            return
        name = split(uri)["Bucket"]
        self.ask(
            f"look at the bucket {name}",
            lambda: self._account.client("s3").head_bucket(Bucket=name),
            f"create it, or allow s3:ListBucket on it, or correct {variable}",
            must=True,
        )

    def packages(self, emr: EmrSettings, spec: ModelSpec) -> None:
        """That the dependency archive is there, and for the machines and the Python of the cluster."""
        try:
            found = dependencies(self._account, emr)
        except SettingsError as error:
            self._problems.append(str(error).replace("\n  Hint: ", " "))
            return
        if found is None:
            return
        node = python_of(emr.node_python)
        if node is not None and node != found.python:
            self._problems.append(
                f"{emr.dependencies} is for Python {found.python}, and jobs run by {emr.node_python}: build it with "
                f"`nightshift package --python {node}`, or set NIGHTSHIFT_EMR_PYTHON"
            )
        engine = spec.training.engine
        if engine in EXTRAS and found.engines is not None and engine not in found.engines:
            self._problems.append(
                f"{emr.dependencies} has no {EXTRAS[engine]}, which the engine {engine} needs: build it from a lock "
                "that has it, `nightshift package --lock`"
            )
        architecture = spec.compute.emr.architecture
        if found.platform != architecture:
            self._problems.append(
                f"{emr.dependencies} is for {found.platform}, and {spec.compute.emr.primary[0]} is {architecture}: "
                f"build it with `nightshift package --platform {architecture}`, or choose other instance types"
            )

    def rights(self, caller: str, env: str) -> None:
        """Whether the policies of whoever this is allow what the tasks call.

        Args:
            caller: Its ARN.
            env: Environment prefix: the policies go by the tags of clusters.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        _, partition, _, _, number, name = caller.split(":", 5)
        assumed = re.fullmatch(r"assumed-role/([^/]+)/.*", name)
        principal = f"arn:{partition}:iam::{number}:role/{assumed[1]}" if assumed else caller
        # Without a cluster only statements that are for everything would be looked at.
        cluster = f"arn:{partition}:elasticmapreduce:{self._account.region}:{number}:cluster/j-0000000000000"
        tags = {"project": PROJECT, "env": env, MANAGED_POLICIES: "true"}
        context: Any = [
            {"ContextKeyName": f"{service}:{kind}/{tag}", "ContextKeyValues": [value], "ContextKeyType": "string"}
            for service in ("aws", "elasticmapreduce")
            for kind in ("RequestTag", "ResourceTag")
            for tag, value in tags.items()
        ]
        try:
            answer = self._account.client("iam", retries=NO_RETRIES).simulate_principal_policy(
                PolicySourceArn=principal, ActionNames=list(ACTIONS), ResourceArns=[cluster], ContextEntries=context
            )
        except (BotoCoreError, ClientError) as error:
            log.warning("not checked: the rights of %s: %s", principal, error)
            return
        denied = [each["EvalActionName"] for each in answer["EvaluationResults"] if each["EvalDecision"] != "allowed"]
        if denied:
            self._problems.append(f"{principal} may not {', '.join(denied)}: attach the orchestrator's policy to it")

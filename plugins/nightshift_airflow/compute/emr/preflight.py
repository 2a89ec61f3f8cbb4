"""What can be known before anything is paid for: settings, names, rights, packages. All that is wrong, at once."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from nightshift.emr_settings import EmrSettings
from nightshift.errors import SettingsError, StorageError
from nightshift.jobs.pins import differences
from nightshift.plan import Plan
from nightshift.settings import Settings
from nightshift.spec.engine_packages import EXTRAS
from nightshift.spec.models import ModelSpec
from nightshift.spec.problem import in_words
from nightshift.spec.rules import local_files
from nightshift_airflow.compute.emr.account import CONNECTION, Account, tags_of
from nightshift_airflow.compute.emr.checks import Checks
from nightshift_airflow.compute.emr.identity import MANAGED_POLICIES
from nightshift_airflow.compute.emr.packages import Dependencies, dependencies, provide_code, python_of, split
from nightshift_airflow.compute.emr.roles import (
    Passed,
    attached_policies,
    check_rights,
    check_rights_of_nodes,
    check_roles,
)

# Seconds for which AWS may be away: nothing is lost yet, and somebody may be waiting for the answer.
PATIENCE = 30.0
MLFLOW_SECRETS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
MANAGED = "AmazonEMRServicePolicy_v2"
STORAGE_POLICY = "docs/aws/policies/storage.json says what its role must allow"


def check(plan: Plan, settings: Settings, emr: EmrSettings, account: Account) -> dict[str, Any]:
    """Check everything; gives what was found, for people.

    What tasks write before the first step, the code and the plan, is written here: nothing else shows that it may be.

    Args:
        plan: Of the night.
        settings: The environment.
        emr: The account's part of it.
        account: The account.

    Raises:
        SettingsError: Something is wrong; the message says all of it.
        NightshiftError: AWS does not answer.
    """
    checks, spec = Checks(account), plan.spec
    checks.add(*_on_paper(spec, settings, emr))
    label = spec.compute.emr.release_label or emr.release_label
    caller = checks.ask("ask who this is", lambda: account.client("sts").get_caller_identity(), CONNECTION)
    if caller is None:
        checks.complain()  # who is nobody is refused everything else too
    _release(checks, label)
    _security(checks, emr)
    passed = check_roles(checks, emr)
    _subnets(checks, emr, passed)
    stored = _bucket(checks, "NIGHTSHIFT_STORAGE", plan.storage)
    coded = _bucket(checks, "NIGHTSHIFT_EMR_CODE", emr.code)
    _bucket(checks, "NIGHTSHIFT_EMR_LOG_URI", emr.log_uri)
    needed = _packages(checks, emr, spec)
    if coded:
        _write_code(checks, emr, needed)
    if stored:
        _write_plan(checks, plan)
    if caller is not None:
        check_rights(checks, caller["Arn"], settings.env, passed)
    check_rights_of_nodes(checks, emr, plan.storage, passed)
    checks.complain()
    return {"account": caller["Account"] if caller else None, "region": account.region, "release_label": label}


def _on_paper(spec: ModelSpec, settings: Settings, emr: EmrSettings) -> Iterator[str]:
    """What is wrong without asking anybody."""
    if not settings.storage.startswith("s3://"):
        yield f"NIGHTSHIFT_STORAGE is {settings.storage}, which a cluster cannot reach: use s3://bucket/prefix"
    for problem in local_files(spec):
        yield in_words(problem)
    if emr.stages_of(spec.compute.emr.stages) == "all":
        yield from _out_of_reach(settings.mlflow_uri)


def _out_of_reach(mlflow_uri: str) -> Iterator[str]:
    """Why register could not reach MLflow from a cluster."""
    otherwise = "or NIGHTSHIFT_EMR_STAGES=to_evaluate (compute.emr.stages): register then runs beside Airflow"
    if not mlflow_uri.startswith(("http://", "https://", "arn:")):
        yield (
            f"NIGHTSHIFT_MLFLOW_URI is {mlflow_uri}, which a cluster cannot reach, and register is to run there: use "
            f"an MLflow server, {otherwise}"
        )
    if secrets := [name for name in MLFLOW_SECRETS if os.environ.get(name)]:
        yield (
            f"{' and '.join(secrets)} of this machine would be needed on the cluster, where register is to run, and "
            "no secret is sent there: use an MLflow server that knows the nodes by their network or their role, "
            f"{otherwise}"
        )


def _release(checks: Checks, label: str) -> None:
    """Raises JobError: AWS does not answer."""
    account = checks.account

    def released() -> list[str]:
        known = account.hook.conn.list_release_labels(Filters={"Prefix": "emr-spark-8"}, MaxResults=100)
        return [str(each) for each in known["ReleaseLabels"]]

    known = checks.ask("list EMR's releases", released, "check the region")
    if known is not None and label not in known:
        there = ", ".join(sorted(known)) or "none of that line"
        checks.add(
            f"EMR has no release {label} in {account.region}; it has {there}: "
            "set compute.emr.release_label or NIGHTSHIFT_EMR_RELEASE_LABEL"
        )


def _security(checks: Checks, emr: EmrSettings) -> None:
    """The security configuration: that it is there, and asks for what is promised."""
    name = emr.security_configuration
    told = checks.ask(
        f"look at the security configuration {name}",
        lambda: checks.account.hook.conn.describe_security_configuration(Name=name)["SecurityConfiguration"],
        "create it, or name another in NIGHTSHIFT_EMR_SECURITY_CONFIGURATION",
    )
    if told is None:
        return
    checks.add(*(f"the security configuration {name} {lack}" for lack in _lacks(json.loads(told), emr)))


def _lacks(asked: Mapping[str, Any], emr: EmrSettings) -> Iterator[str]:
    """What a security configuration should ask for and does not."""
    metadata = asked.get("InstanceMetadataServiceConfiguration", {})
    if metadata.get("MinimumInstanceMetadataServiceVersion") != 2:
        yield (
            "does not ask for IMDSv2: set InstanceMetadataServiceConfiguration.MinimumInstanceMetadataServiceVersion "
            "to 2"
        )
    encryption = asked.get("EncryptionConfiguration", {})
    at_rest = encryption.get("AtRestEncryptionConfiguration", {})
    disks = at_rest.get("LocalDiskEncryptionConfiguration", {})
    if not (encryption.get("EnableAtRestEncryption") and disks.get("EnableEbsEncryption")):
        yield (
            "does not encrypt disks: set EncryptionConfiguration.EnableAtRestEncryption and "
            "AtRestEncryptionConfiguration.LocalDiskEncryptionConfiguration.EnableEbsEncryption to true, with a key"
        )
    scoped = asked.get("AuthorizationConfiguration", {}).get("IAMConfiguration", {})
    if emr.runtime_role and not scoped.get("EnableApplicationScopedIAMRole"):
        yield (
            "does not allow runtime roles, and NIGHTSHIFT_EMR_RUNTIME_ROLE is set: set "
            "AuthorizationConfiguration.IAMConfiguration.EnableApplicationScopedIAMRole to true"
        )


def _subnets(checks: Checks, emr: EmrSettings, passed: Passed) -> None:
    """That they are there, and have the tag without which AWS's own policy lets EMR use none."""
    client = checks.account.client
    found = checks.ask(
        "find the subnets",
        lambda: client("ec2").describe_subnets(SubnetIds=list(emr.subnets))["Subnets"],
        "correct NIGHTSHIFT_EMR_SUBNETS, or check that the connection's region is theirs",
    )
    bare = [each["SubnetId"] for each in found or () if tags_of(each).get(MANAGED_POLICIES) != "true"]
    if bare and passed.service and MANAGED in attached_policies(checks, passed.service):
        lack = f"{', '.join(bare)} {'has' if len(bare) == 1 else 'have'} no tag {MANAGED_POLICIES}=true"
        checks.add(
            f"{lack}, and {MANAGED} of the role {emr.service_role} lets EMR start nodes only where it is: tag them, "
            "and their network"
        )


def _bucket(checks: Checks, variable: str, uri: str) -> bool:
    """Whether the bucket is there, and may be used."""
    if not uri.startswith("s3://"):
        return False
    name = split(uri)["Bucket"]
    found = checks.ask(
        f"look at the bucket {name}",
        lambda: checks.account.client("s3").head_bucket(Bucket=name),
        f"create it, or allow s3:ListBucket on it, or correct {variable}",
        must=True,
    )
    return found is not None


def _write_code(checks: Checks, emr: EmrSettings, needed: Dependencies | None) -> None:
    checks.ask(
        "provide the code",
        lambda: provide_code(checks.account, emr, needed),
        "allow s3:GetObject and s3:PutObject below NIGHTSHIFT_EMR_CODE",
        must=True,
    )


def _write_plan(checks: Checks, plan: Plan) -> None:
    """Raises StorageError: The store does not answer."""
    from nightshift.jobs import publish
    from nightshift.storage.patience import is_refused

    try:
        publish(plan)
    except SettingsError as error:
        checks.add(str(error).replace("\n  Hint: ", " "))
    except StorageError as error:
        if not is_refused(error):
            raise
        checks.add(f"{error.message}: jobs beside Airflow use its machine's own credentials; {STORAGE_POLICY}")


def _packages(checks: Checks, emr: EmrSettings, spec: ModelSpec) -> Dependencies | None:
    """The dependency archive: that it is there, and for the machines and the Python of the cluster."""
    try:
        found = dependencies(checks.account, emr)
    except SettingsError as error:
        checks.add(str(error).replace("\n  Hint: ", " "))
        return None
    if found is not None:
        checks.add(*_unfit(found, emr, spec))
    return found


def _unfit(found: Dependencies, emr: EmrSettings, spec: ModelSpec) -> Iterator[str]:
    """Why jobs could not run on it."""
    node = python_of(emr.node_python)
    if node is not None and node != found.python:
        yield (
            f"{emr.dependencies} is for Python {found.python}, and jobs run by {emr.node_python}: build it with "
            f"`nightshift package --python {node}`, or set NIGHTSHIFT_EMR_PYTHON"
        )
    if other := differences(found.packages, python=found.python, platform=found.platform):
        yield (
            f"{emr.dependencies} has other packages than this code was locked with: {other}; build it from this "
            "code's requirements-job.txt, or from a lock that has more: `nightshift package`"
        )
    engine = spec.training.engine
    if engine in EXTRAS and EXTRAS[engine] not in found.packages:
        yield (
            f"{emr.dependencies} has no {EXTRAS[engine]}, which the engine {engine} needs: build it from a lock "
            "that has it, `nightshift package --lock`"
        )
    architecture = spec.compute.emr.architecture
    if found.platform != architecture:
        yield (
            f"{emr.dependencies} is for {found.platform}, and {spec.compute.emr.primary[0]} is {architecture}: "
            f"build it with `nightshift package --platform {architecture}`, or choose other instance types"
        )

"""The files of ``docs/aws``: least privilege by shape, complete for what the code calls, and all of it used."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import Path
from typing import Any

import boto3
import hcl2
import pytest
from botocore import xform_name
from moto import mock_aws

from nightshift.errors import SettingsError
from nightshift_airflow.compute.emr.checks import Checks
from nightshift_airflow.compute.emr.roles import Passed, check_rights

ROOT = Path(__file__).parents[2]
MODULE = ROOT / "docs" / "aws"
POLICIES = sorted(path.stem for path in (MODULE / "policies").glob("*.json"))
TRUSTS = [name for name in POLICIES if name.startswith("trust-")]
OF_RESOURCES = ["bucket", "s3-endpoint"]
OF_ROLES = [name for name in POLICIES if name not in TRUSTS and name not in OF_RESOURCES]
TARGET = ROOT / "plugins" / "nightshift_airflow" / "compute" / "emr"

NAMES = {
    "account": "123456789012",
    "partition": "aws",
    "region": "eu-west-1",
    "env": "prod",
    "data_bucket": "nightshift-prod-data",
    "code_bucket": "nightshift-prod-code",
    "logs_bucket": "nightshift-prod-logs",
    "bucket": "nightshift-prod-data",
    "prefix": "teams/nightshift",
    "key": "arn:aws:kms:eu-west-1:123456789012:key/0a1b2c3d",
    "service_role": "nightshift-prod-emr-service",
    "node_role": "nightshift-prod-emr-node",
    "job_role": "nightshift-prod-emr-job",
    "orchestrator_arn": "arn:aws:iam::123456789012:role/nightshift-prod-orchestrator",
    "orchestrator_trust": '["ec2.amazonaws.com"]',
    "instance_data": "aws157-instance-data",
    "system_logs": "aws157-logs-prod-eu-west-1",
}
# Actions that AWS does not limit to resources (Service Authorization Reference): what limits them instead.
WITHOUT_RESOURCES = {
    "elasticmapreduce:RunJobFlow": "the tags that the request must carry",
    "elasticmapreduce:ListClusters": "lists names and states only",
    "elasticmapreduce:ListReleaseLabels": "public knowledge",
    "elasticmapreduce:DescribeSecurityConfiguration": "holds names of keys, no secrets",
    "ec2:DescribeSubnets": "reads the network's shape",
}
# On clusters, and not by their tags.
WITHOUT_TAGS = {"elasticmapreduce:DescribeCluster": "the tags are what is read, to know whose a cluster is"}
# RunJobFlow asks for these where a cluster is created with tags, an idle timeout and managed scaling.
BY_RUN_JOB_FLOW = {
    "elasticmapreduce:AddTags",
    "elasticmapreduce:PutAutoTerminationPolicy",
    "elasticmapreduce:PutManagedScalingPolicy",
}
# Operations whose action has another name, or needs none.
ACTIONS = {
    ("s3", "HeadObject"): "s3:GetObject",
    ("s3", "HeadBucket"): "s3:ListBucket",
    ("s3", "ListObjectsV2"): "s3:ListBucket",
    ("sts", "GetCallerIdentity"): None,
}
PREFIX_OF = {"emr": "elasticmapreduce"}
# What the provider's hook calls otherwise than boto3.
OF_HOOK = {"create_job_flow": "run_job_flow"}


def policy(name: str) -> dict[str, Any]:
    """The file as Terraform's ``templatefile`` makes it."""
    text = (MODULE / "policies" / f"{name}.json").read_text()
    loaded: dict[str, Any] = json.loads(re.sub(r"\$\{(\w+)\}", lambda match: NAMES[match[1]], text))
    return loaded


def statements(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = policy(name)["Statement"]
    return found


def several(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


ALLOWED = [
    pytest.param(statement, id=f"{name} {statement['Sid']}")
    for name in POLICIES
    for statement in statements(name)
    if statement["Effect"] == "Allow"
]


# -- shape ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("statement", ALLOWED)
def test_no_action_has_a_star(statement: dict[str, Any]) -> None:
    assert [action for action in several(statement["Action"]) if "*" in action or ":" not in action] == []
    assert "NotAction" not in statement
    assert "NotResource" not in statement


@pytest.mark.parametrize("statement", ALLOWED)
def test_every_resource_is_named_but_where_aws_takes_no_names(statement: dict[str, Any]) -> None:
    for resource in several(statement.get("Resource", [])):
        if resource == "*":
            assert set(several(statement["Action"])) <= set(WITHOUT_RESOURCES)
        else:
            assert resource.startswith("arn:aws:")


@pytest.mark.parametrize("name", OF_ROLES)
def test_objects_are_limited_to_the_prefix_in_our_buckets(name: str) -> None:
    for statement in statements(name):
        for resource in several(statement["Resource"]):
            if resource.startswith("arn:aws:s3:::"):
                bucket, _, key = resource.removeprefix("arn:aws:s3:::").partition("/")
                assert bucket.startswith("nightshift-prod-")
                assert key in ("", "teams/nightshift/*")
                assert not key or not {"s3:ListBucket", "s3:ListBucketMultipartUploads"} & set(statement["Action"])


@pytest.mark.parametrize("statement", [each for each in ALLOWED if not str(each.id).startswith("s3-endpoint")])
def test_lists_of_objects_are_limited_to_the_prefix(statement: dict[str, Any]) -> None:
    """IfExists: to look whether a bucket is there, and to be told that an object is not, takes the same right."""
    if "s3:ListBucket" in several(statement["Action"]):
        assert statement["Action"] == ["s3:ListBucket"]
        assert statement["Condition"] == {
            "StringLikeIfExists": {"s3:prefix": ["teams/nightshift", "teams/nightshift/*"]}
        }


def conditions(statement: dict[str, Any]) -> dict[str, dict[str, str]]:
    return {
        key: {"test": test, "value": value}
        for test, keys in statement.get("Condition", {}).items()
        for key, value in keys.items()
    }


def test_clusters_are_ours_by_their_tags() -> None:
    for statement in statements("orchestrator"):
        for action in statement["Action"]:
            asked = conditions(statement)
            if not action.startswith("elasticmapreduce:") or action in WITHOUT_TAGS:
                continue
            if action in WITHOUT_RESOURCES and action != "elasticmapreduce:RunJobFlow":
                continue
            kind = (
                "RequestTag" if action in ("elasticmapreduce:RunJobFlow", "elasticmapreduce:AddTags") else "ResourceTag"
            )
            assert asked[f"aws:{kind}/project"]["value"] == "nightshift", action
            assert asked[f"aws:{kind}/env"]["value"] == "prod", action
            # A cluster has no tags yet while it is being created.
            exact = "StringEqualsIfExists" if action.startswith("elasticmapreduce:Put") else "StringEquals"
            assert {asked[f"aws:{kind}/{tag}"]["test"] for tag in ("project", "env")} == {exact}, action


def test_steps_run_only_as_the_job_role() -> None:
    statement = next(
        found for found in statements("orchestrator") if "elasticmapreduce:AddJobFlowSteps" in found["Action"]
    )
    role = conditions(statement)["elasticmapreduce:ExecutionRoleArn"]
    assert role == {"test": "StringEqualsIfExists", "value": "arn:aws:iam::123456789012:role/nightshift-prod-emr-job"}


@pytest.mark.parametrize("statement", ALLOWED)
def test_roles_are_passed_by_name_and_to_one_service(statement: dict[str, Any]) -> None:
    if "iam:PassRole" not in statement["Action"]:
        return
    assert statement["Action"] == ["iam:PassRole"]
    to = conditions(statement)["iam:PassedToService"]
    passed = {
        "arn:aws:iam::123456789012:role/nightshift-prod-emr-service": "elasticmapreduce.amazonaws.com",
        "arn:aws:iam::123456789012:role/nightshift-prod-emr-node": "ec2.amazonaws.com",
    }
    assert to == {"test": "StringEquals", "value": passed[statement["Resource"]]}


@pytest.mark.parametrize("name", TRUSTS)
def test_nobody_in_particular_is_never_trusted(name: str) -> None:
    for statement in statements(name):
        for principal in statement["Principal"].values():
            assert "*" not in several(principal)
        assert set(statement["Action"]) <= {"sts:AssumeRole", "sts:TagSession"}


def test_buckets_refuse_what_is_not_encrypted_on_its_way() -> None:
    (statement,) = statements("bucket")
    assert (statement["Effect"], statement["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})
    assert statement["Resource"] == ["arn:aws:s3:::nightshift-prod-data", "arn:aws:s3:::nightshift-prod-data/*"]


@pytest.mark.parametrize("name", OF_ROLES)
def test_iam_takes_the_policy(name: str) -> None:
    """As moto's IAM checks the grammar; a managed policy has 6,144 letters at most."""
    text = json.dumps(policy(name))
    assert len(text) <= 6144
    with mock_aws():
        iam = boto3.client("iam", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")
        iam.create_policy(PolicyName=name, PolicyDocument=text)
        iam.close()


# -- complete, and no more than that ---------------------------------------------------------------------


def operations() -> dict[str, tuple[str, str]]:
    """boto3's methods of the services that the code uses: service and operation by the method's name."""
    found: dict[str, tuple[str, str]] = {}
    for service in ("ec2", "sts", "s3", "iam", "emr"):
        client = boto3.client(service, region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")
        found |= {xform_name(name): (service, name) for name in client.meta.service_model.operation_names}
        client.close()
    return found


def waiters() -> dict[str, str]:
    """Operations of the provider's waiters for EMR, by the waiter's name."""
    text = files("airflow.providers.amazon.aws.waiters").joinpath("emr.json").read_text()
    return {name: waiter["operation"] for name, waiter in json.loads(text)["waiters"].items()}


def words() -> Iterator[str]:
    """Every attribute and every string of the compute target's code."""
    for path in sorted(TARGET.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                yield node.attr
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def called() -> set[str]:
    """The IAM actions of all calls in the compute target's code."""
    known, waits = operations(), waiters()
    found: set[str] = set()
    for word in words():
        service, operation = known.get(OF_HOOK.get(word, word), ("emr", waits.get(word)))
        if operation is None:
            continue
        action = ACTIONS.get((service, operation), f"{PREFIX_OF.get(service, service)}:{operation}")
        if action is not None:
            found.add(action)
    return found


def allowed(*names: str) -> set[str]:
    return {action for name in names for statement in statements(name) for action in several(statement["Action"])}


def test_the_orchestrator_may_do_what_the_code_does() -> None:
    assert "elasticmapreduce:RunJobFlow" in called()
    assert called() - allowed("orchestrator") == set()


def test_the_orchestrator_may_do_nothing_on_emr_that_the_code_does_not() -> None:
    emr = {action for action in allowed("orchestrator") if action.startswith("elasticmapreduce:")}
    assert emr - called() - BY_RUN_JOB_FLOW == set()


ROLES = Passed(
    "arn:aws:iam::123456789012:role/nightshift-prod-emr-service",
    "arn:aws:iam::123456789012:role/nightshift-prod-emr-node",
    "arn:aws:iam::123456789012:role/nightshift-prod-emr-job",
)
AIRFLOW = "arn:aws:iam::123456789012:role/service-role/airflow"


class Simulated:
    """An account that keeps what IAM is asked to simulate, and answers by ``orchestrator.json``."""

    region = NAMES["region"]

    def __init__(self, *, without: str | None = None) -> None:
        self.without = without
        self.asked: list[dict[str, Any]] = []

    def call(self, _: str, request: Any) -> Any:
        return request()

    def client(self, _service: str, **_options: Any) -> Any:
        return self

    def get_role(self, **asked: Any) -> dict[str, Any]:
        assert asked == {"RoleName": "airflow"}
        return {"Role": {"Arn": AIRFLOW}}

    def simulate_principal_policy(self, **asked: Any) -> dict[str, Any]:
        self.asked.append(asked)
        said = {entry["ContextKeyName"]: entry["ContextKeyValues"] for entry in asked["ContextEntries"]}
        (resource,) = asked["ResourceArns"]
        return {
            "EvaluationResults": [
                {
                    "EvalActionName": action,
                    "EvalDecision": "allowed" if self._allows(action, resource, said) else "implicitDeny",
                }
                for action in asked["ActionNames"]
            ]
        }

    def _allows(self, action: str, resource: str, said: dict[str, list[str]]) -> bool:
        """As IAM decides; every condition here is of equal strings."""
        for statement in statements("orchestrator"):
            named = any(fnmatchcase(resource, pattern) for pattern in several(statement["Resource"]))
            met = all(
                said.get(key, [asked["value"]] if asked["test"].endswith("IfExists") else []) == [asked["value"]]
                for key, asked in conditions(statement).items()
            )
            if action != self.without and action in statement["Action"] and named and met:
                return True
        return False


def rights(account: Simulated, *, caller: str = AIRFLOW, env: str = "prod", passed: Passed = ROLES) -> None:
    checks = Checks(account)  # type: ignore[arg-type]
    check_rights(checks, caller, env, passed)
    checks.complain()


@pytest.mark.parametrize("caller", ["arn:aws:sts::123456789012:assumed-role/airflow/i-0a1b2c3d", AIRFLOW])
def test_what_preflight_asks_iam_is_allowed_by_the_policy(caller: str) -> None:
    account = Simulated()
    rights(account, caller=caller)
    assert {asked["PolicySourceArn"] for asked in account.asked} == {AIRFLOW}
    asked_for = {action for asked in account.asked for action in asked["ActionNames"]}
    assert asked_for == {action for action in called() if action.startswith("elasticmapreduce:")} - {
        # Whether these may be asked is seen by asking.
        "elasticmapreduce:ListReleaseLabels",
        "elasticmapreduce:DescribeSecurityConfiguration",
    } | BY_RUN_JOB_FLOW | {"iam:PassRole"}
    passed = [asked["ResourceArns"][0] for asked in account.asked if asked["ActionNames"] == ["iam:PassRole"]]
    assert passed == [ROLES.service, ROLES.nodes]


@pytest.mark.parametrize("action", ["elasticmapreduce:TerminateJobFlows", "elasticmapreduce:AddTags"])
def test_preflight_finds_a_right_that_is_missing(action: str) -> None:
    with pytest.raises(SettingsError, match=rf"role/service-role/airflow may not {action}: attach"):
        rights(Simulated(without=action))


def test_preflight_finds_rights_that_are_for_another_environment() -> None:
    with pytest.raises(SettingsError, match=r"may not elasticmapreduce:RunJobFlow, elasticmapreduce:AddTags"):
        rights(Simulated(), env="dev")


def test_preflight_finds_a_role_that_may_not_be_passed() -> None:
    other = "arn:aws:iam::123456789012:role/other"
    with pytest.raises(SettingsError, match=rf"may not iam:PassRole of {other}: attach"):
        rights(Simulated(), passed=replace(ROLES, service=other))
    with pytest.raises(SettingsError, match=r"may not iam:PassRole of .*emr-service: attach"):
        rights(Simulated(), passed=replace(ROLES, service=ROLES.nodes, nodes=ROLES.service))


def test_actions_of_emr_exist() -> None:
    known = {f"elasticmapreduce:{name}" for service, name in operations().values() if service == "emr"}
    assert {action for name in POLICIES for action in allowed(name) if action.startswith("elasticmapreduce:")} <= known


# -- the Terraform module --------------------------------------------------------------------------------


def blocks(kind: str) -> dict[str, dict[str, Any]]:
    """Blocks of one kind by their address, such as ``aws_iam_role.node``."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(MODULE.glob("*.tf")):
        for block in hcl2.loads(path.read_text()).get(kind, []):
            for first, inner in block.items():
                named = inner if kind in ("resource", "data") else {None: inner}
                for second, body in named.items():
                    found[".".join(part.strip('"') for part in (first, second) if part)] = body
    return found


def source() -> str:
    return "\n".join(path.read_text() for path in sorted(MODULE.glob("*.tf")))


def test_every_policy_is_used_with_every_name_that_it_mentions() -> None:
    used = set(re.findall(r"policies/([a-z0-9-]+)\.json", source()))
    assert used == set(POLICIES)
    given = set(re.findall(r"^    (\w+) += ", source().partition("names = {")[2].partition("\n  }")[0], re.MULTILINE))
    mentioned = {
        name for path in (MODULE / "policies").glob("*.json") for name in re.findall(r"\$\{(\w+)\}", path.read_text())
    }
    assert mentioned - given == {"bucket"}
    assert given <= mentioned
    assert set(NAMES) == mentioned


def test_variables_are_described_and_used() -> None:
    declared = blocks("variable")
    assert [name for name, body in declared.items() if not body.get("description")] == []
    assert {name for name in declared if f"var.{name}" not in source()} == set()
    assert set(re.findall(r"\bvar\.(\w+)", source())) == set(declared)


def test_every_bucket_is_encrypted_versioned_and_private() -> None:
    resources = blocks("resource")
    for kind in (
        "aws_s3_bucket_public_access_block",
        "aws_s3_bucket_server_side_encryption_configuration",
        "aws_s3_bucket_versioning",
        "aws_s3_bucket_policy",
        "aws_s3_bucket_ownership_controls",
        "aws_s3_bucket_lifecycle_configuration",
    ):
        assert resources[f"{kind}.each"]["for_each"] == "${aws_s3_bucket.each}", kind
    block = resources["aws_s3_bucket_public_access_block.each"]
    assert all(
        block[key] is True
        for key in ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")
    )


def test_nodes_have_encrypted_disks_and_a_metadata_service_by_tokens() -> None:
    text = (MODULE / "security.tf").read_text()
    for line in (
        r"EnableAtRestEncryption\s+= true",
        r"EncryptionMode = \"SSE-KMS\"",
        r"EnableEbsEncryption\s+= true",
        r"MinimumInstanceMetadataServiceVersion = 2",
        r"HttpPutResponseHopLimit\s+= 1",
    ):
        assert re.search(line, text), line


def test_spot_instances_may_use_the_key_of_the_disks() -> None:
    """Their disks are encrypted by EC2's own role for spot; the operations are those that EC2's guide names for it."""
    grant = blocks("resource")["aws_kms_grant.spot"]
    assert grant["key_id"] == "${local.key}"
    assert grant["grantee_principal"].endswith('role/aws-service-role/spot.amazonaws.com/AWSServiceRoleForEC2Spot"')
    assert {one.strip('"') for one in grant["operations"]} == {
        *("CreateGrant", "Decrypt", "DescribeKey", "Encrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext"),
        *("ReEncryptFrom", "ReEncryptTo"),
    }


def test_the_modules_network_is_in_zones_that_everybody_has() -> None:
    zones = blocks("data")["aws_availability_zones.here"]
    [only] = zones["filter"]
    assert [only["name"].strip('"'), *(one.strip('"') for one in only["values"])] == [
        "opt-in-status",
        "opt-in-not-required",
    ]


def test_of_two_environments_on_one_network_one_can_own_the_tags() -> None:
    resources = blocks("resource")
    assert resources["aws_ec2_tag.subnet"]["for_each"].startswith("${var.tag_network ?")
    assert resources["aws_ec2_tag.vpc"]["count"].startswith("${var.tag_network &&")


def test_the_outputs_are_variables_that_nightshift_reads() -> None:
    from nightshift.emr_settings import NEEDED, EmrSettings
    from nightshift.settings import Settings

    text = (MODULE / "outputs.tf").read_text()
    written = set(re.findall(r"(NIGHTSHIFT_\w+)\s*=", text))
    assert set(NEEDED) <= written
    values = {
        "NIGHTSHIFT_EMR_CODE": "s3://nightshift-prod-code/nightshift",
        "NIGHTSHIFT_EMR_LOG_URI": "s3://nightshift-prod-logs/nightshift",
        "NIGHTSHIFT_EMR_SUBNETS": "subnet-0a1b2c3d,subnet-4e5f6071",
        "NIGHTSHIFT_EMR_SERVICE_ROLE": "arn:aws:iam::123456789012:role/nightshift-prod-emr-service",
        "NIGHTSHIFT_EMR_INSTANCE_PROFILE": "arn:aws:iam::123456789012:instance-profile/nightshift-prod-emr-node",
        "NIGHTSHIFT_EMR_SECURITY_CONFIGURATION": "nightshift-prod-20261120160000000000000001",
        "NIGHTSHIFT_EMR_RUNTIME_ROLE": "arn:aws:iam::123456789012:role/nightshift-prod-emr-job",
        "NIGHTSHIFT_COMPUTE": "emr",
        "NIGHTSHIFT_ENV": "prod",
        "NIGHTSHIFT_STORAGE": "s3://nightshift-prod-data/nightshift",
    }
    assert set(values) == written
    assert EmrSettings.from_environment(values).runtime_role == values["NIGHTSHIFT_EMR_RUNTIME_ROLE"]
    assert Settings.from_environment(values).compute == "emr"

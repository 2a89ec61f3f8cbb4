"""The policies of ``docs/aws`` held against what was really asked of AWS: the calls that the double has taken down.

A call is what IAM is asked about: actions on resources, and what is known of the request. Where a call needs more than
the action of its name (a cluster that is created with tags; an object that is not there, which only those are told who
may list; an object that is encrypted by a key), all of it is asked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from tests.fakes.aws.wire import Call

POLICIES = Path(__file__).parents[2] / "docs" / "aws" / "policies"
Statements = list[dict[str, Any]]

READS = {"GetObject", "HeadObject"}
WRITES = {"PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "CopyObject"}
ON_OBJECTS = {
    **dict.fromkeys(READS, "GetObject"),
    **dict.fromkeys(WRITES, "PutObject"),
    "AbortMultipartUpload": "AbortMultipartUpload",
    "DeleteObject": "DeleteObject",
    "DeleteObjects": "DeleteObject",
    "ListParts": "ListMultipartUploadParts",
}
ON_BUCKETS = {
    "HeadBucket": "ListBucket",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "ListObjects": "ListBucket",
    "ListObjectsV2": "ListBucket",
}
# Of EMR, without a resource.
EVERYWHERE = {"DescribeSecurityConfiguration", "ListClusters", "ListReleaseLabels", "RunJobFlow"}


class Right(NamedTuple):
    """One action of one statement."""

    policy: str
    statement: str
    action: str


@dataclass(frozen=True)
class Account:
    """What the policies name, as ``docs/aws`` would have made it.

    Attributes:
        names: By the placeholders of the policies.
        tags: Of clusters, by their id.
    """

    names: Mapping[str, str]
    tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def statements(self, *policies: str, without: Right | None = None) -> Statements:
        """Statements of some policies; ``without`` a right that somebody has taken out of them."""
        found: Statements = []
        for policy in policies:
            text = (POLICIES / f"{policy}.json").read_text()
            loaded = json.loads(re.sub(r"\$\{(\w+)\}", lambda match: self.names[match[1]], text))["Statement"]
            for one in loaded:
                left = [each for each in one["Action"] if Right(policy, one["Sid"], each) != without]
                found.append({**one, "Policy": policy, "Action": left})
        return found

    def rights(self, *policies: str) -> list[Right]:
        """Every action of every statement."""
        found = self.statements(*policies)
        return [Right(one["Policy"], one["Sid"], action) for one in found for action in one["Action"]]

    def arn(self, service: str, rest: str) -> str:
        regional = "" if service in ("iam", "s3") else self.names["region"]
        number = "" if service == "s3" else self.names["account"]
        return f"arn:{self.names['partition']}:{service}:{regional}:{number}:{rest}"


@dataclass(frozen=True)
class Asked:
    """One question to IAM."""

    action: str
    resource: str
    known: Mapping[str, str] = field(default_factory=dict)


def asked(call: Call, account: Account) -> Iterator[Asked]:
    """What IAM is asked about a call.

    Raises:
        LookupError: Nobody has said what this operation needs.
    """
    match call.service:
        case "sts" if call.operation == "GetCallerIdentity":
            return
        case "s3":
            yield from _of_s3(call, account)
        case "elasticmapreduce":
            yield from _of_emr(call, account)
        case "iam":
            yield from _of_iam(call, account)
        case "ec2":
            yield Asked(f"ec2:{call.operation}", "*")
        case _:
            raise LookupError(f"what does {call.service}:{call.operation} need?")


def _of_s3(call: Call, account: Account) -> Iterator[Asked]:
    bucket = account.arn("s3", call.parameters["Bucket"])
    if call.operation in ON_BUCKETS:
        prefix = call.parameters.get("Prefix")
        known = {} if prefix is None or call.operation == "ListMultipartUploads" else {"s3:prefix": prefix}
        yield Asked(f"s3:{ON_BUCKETS[call.operation]}", bucket, known)
        return
    for key in call.parameters.get("Keys") or [call.parameters["Key"]]:
        yield Asked(f"s3:{ON_OBJECTS[call.operation]}", f"{bucket}/{key}")
    if call.operation in READS and call.status == 404:
        yield Asked("s3:ListBucket", bucket)
    through = {"kms:ViaService": f"s3.{account.names['region']}.amazonaws.com"}
    if call.operation in READS or call.operation == "CompleteMultipartUpload":
        yield Asked("kms:Decrypt", account.names["key"], through)
    if call.operation in WRITES:
        yield Asked("kms:GenerateDataKey", account.names["key"], through)


def _of_emr(call: Call, account: Account) -> Iterator[Asked]:
    asked_for = call.parameters
    cluster = (
        asked_for.get("ClusterId") or asked_for.get("JobFlowId") or next(iter(asked_for.get("JobFlowIds", [])), "")
    )
    known = {f"aws:ResourceTag/{name}": value for name, value in account.tags.get(cluster, {}).items()}
    if role := asked_for.get("ExecutionRoleArn"):
        known["elasticmapreduce:ExecutionRoleArn"] = role
    if call.operation in EVERYWHERE:
        known = {f"aws:RequestTag/{tag['Key']}": tag["Value"] for tag in asked_for.get("Tags", [])}
    resource = "*" if call.operation in EVERYWHERE else account.arn("elasticmapreduce", f"cluster/{cluster}")
    yield Asked(f"elasticmapreduce:{call.operation}", resource, known)
    if call.operation == "RunJobFlow":
        new = account.arn("elasticmapreduce", "cluster/j-0000000000000")
        yield Asked("elasticmapreduce:AddTags", new, known)
        yield Asked("elasticmapreduce:PutAutoTerminationPolicy", new)
        yield Asked("elasticmapreduce:PutManagedScalingPolicy", new)
        for name, service in (("service_role", "elasticmapreduce"), ("node_role", "ec2")):
            to = {"iam:PassedToService": f"{service}.amazonaws.com"}
            yield Asked("iam:PassRole", account.arn("iam", f"role/{account.names[name]}"), to)


def _of_iam(call: Call, account: Account) -> Iterator[Asked]:
    asked_for = call.parameters
    if "PolicySourceArn" in asked_for:
        resource = asked_for["PolicySourceArn"]
    elif "InstanceProfileName" in asked_for:
        resource = account.arn("iam", f"instance-profile/{asked_for['InstanceProfileName']}")
    elif account.names["orchestrator_arn"].endswith(f"/{asked_for['RoleName']}"):
        resource = account.names["orchestrator_arn"]  # which may have a path
    else:
        resource = account.arn("iam", f"role/{asked_for['RoleName']}")
    yield Asked(f"iam:{call.operation}", resource)


def allows(statements: Statements, question: Asked) -> bool:
    """Whether one statement allows it, as IAM decides; these policies of roles deny nothing."""
    return any(
        question.action in statement["Action"]
        and any(fnmatchcase(question.resource, pattern) for pattern in _several(statement["Resource"]))
        and all(
            _holds(test, question.known.get(key), _several(values))
            for test, keys in statement.get("Condition", {}).items()
            for key, values in keys.items()
        )
        for statement in statements
    )


def _several(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _holds(test: str, value: str | None, allowed: list[str]) -> bool:
    kind = test.removesuffix("IfExists")
    if value is None:
        return kind != test
    match kind:
        case "StringEquals":
            return value in allowed
        case "StringLike":
            return any(fnmatchcase(value, pattern) for pattern in allowed)
        case _:
            raise LookupError(f"what does the condition {test} mean?")


def refusals(calls: Iterable[Call], account: Account, rights: Mapping[str, list[Statements]]) -> list[str]:
    """What IAM would have refused, each once.

    Args:
        calls: The journal.
        account: What the policies name.
        rights: By whose key a call is signed; what is asked must be allowed by each of several sets of statements.
    """
    found = {}
    for call in calls:
        for question in asked(call, account) if call.key in rights else ():
            if not all(allows(statements, question) for statements in rights[call.key]):
                told = f"{call.key} may not {question.action} on {question.resource}"
                found[f"{told}, which {call.operation} needs (known: {dict(question.known)})"] = True
    return list(found)

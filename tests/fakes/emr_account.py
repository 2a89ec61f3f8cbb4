"""On the double of AWS: what an account has in which Nightshift may create clusters, and a workplace that uses it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.fakes.aws import AwsDouble
from tests.fakes.workplace import Workplace

PROGRAMS = "s3://ns-code/jobs/"
BUCKETS = ("ns-code", "ns-logs", "ns-store", "ns-data")
SERVICE_ROLE, NODE_ROLE, RUNTIME_ROLE = "nightshift-emr-service", "nightshift-emr-nodes", "nightshift-emr-jobs"
SECURITY_CONFIGURATION = "nightshift"
SECURITY = {
    "InstanceMetadataServiceConfiguration": {"MinimumInstanceMetadataServiceVersion": 2, "HttpPutResponseHopLimit": 1},
    "AuthorizationConfiguration": {"IAMConfiguration": {"EnableApplicationScopedIAMRole": True}},
    "EncryptionConfiguration": {
        "EnableInTransitEncryption": False,
        "EnableAtRestEncryption": True,
        "AtRestEncryptionConfiguration": {
            "LocalDiskEncryptionConfiguration": {
                "EncryptionKeyProviderType": "AwsKms",
                "AwsKmsKey": "arn:aws:kms:us-east-1:123456789012:key/0a1b2c3d",
                "EnableEbsEncryption": True,
            }
        },
    },
}


def prepare(double: AwsDouble) -> dict[str, str]:
    """Make buckets, roles and the security configuration; gives the environment of whoever uses them."""
    s3, iam, ec2 = (double.client(name) for name in ("s3", "iam", "ec2"))
    there = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
    for bucket in BUCKETS:
        if bucket not in there:
            s3.create_bucket(Bucket=bucket)
    known = {role["RoleName"] for role in iam.list_roles()["Roles"]}
    for role in (SERVICE_ROLE, NODE_ROLE, RUNTIME_ROLE):
        if role not in known:
            iam.create_role(RoleName=role, AssumeRolePolicyDocument="{}")
    if NODE_ROLE not in {each["InstanceProfileName"] for each in iam.list_instance_profiles()["InstanceProfiles"]}:
        iam.create_instance_profile(InstanceProfileName=NODE_ROLE)
        iam.add_role_to_instance_profile(InstanceProfileName=NODE_ROLE, RoleName=NODE_ROLE)
    double.client("emr").create_security_configuration(
        Name=SECURITY_CONFIGURATION, SecurityConfiguration=json.dumps(SECURITY)
    )
    subnets = [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]][:2]
    return {
        **double.environment,
        "NIGHTSHIFT_COMPUTE": "emr",
        "NIGHTSHIFT_STORAGE": "s3://ns-store/nights",
        "NIGHTSHIFT_EMR_CODE": PROGRAMS,
        "NIGHTSHIFT_EMR_LOG_URI": "s3://ns-logs/emr",
        "NIGHTSHIFT_EMR_SUBNETS": ",".join(subnets),
        "NIGHTSHIFT_EMR_SERVICE_ROLE": SERVICE_ROLE,
        "NIGHTSHIFT_EMR_INSTANCE_PROFILE": NODE_ROLE,
        "NIGHTSHIFT_EMR_SECURITY_CONFIGURATION": SECURITY_CONFIGURATION,
        "NIGHTSHIFT_EMR_PYTHON": sys.executable,
        "NIGHTSHIFT_EMR_COST_CENTER": "cc-4711",
        "NIGHTSHIFT_EMR_POLL": "1",
        "NIGHTSHIFT_EMR_LOG_WAIT": "20",
    }


def emr_workplace(root: Path, double: AwsDouble) -> Workplace:
    """A workplace whose nights run on the double's EMR, with the tiny model's data on its S3."""
    workplace = Workplace(root)
    workplace.environ |= prepare(double)
    workplace.patience = 900  # every step starts a Spark of its own
    s3 = double.client("s3")
    for file in sorted((root / "data").glob("*.csv")):
        s3.put_object(Bucket="ns-data", Key=f"parcels/{file.name}", Body=file.read_bytes())
    spec = workplace.models / "parcels.yaml"
    text = spec.read_text()
    assert str(root / "data") in text, "the tiny model reads files"
    spec.write_text(text.replace(str(root / "data"), "s3://ns-data/parcels"))
    return workplace

"""What the double takes from Moto and Werkzeug. When one of these fails after an upgrade, look at ``server.py``."""

from __future__ import annotations

import inspect
import io
from collections.abc import Iterator

import pytest
from botocore import xform_name
from botocore.exceptions import ClientError
from moto.server import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from tests.fakes.aws import AwsDouble, aws_double
from tests.fakes.aws.catalogue import Catalogue
from tests.fakes.aws.emr import Emr
from tests.fakes.aws.validation import service_model
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.test import Client


@pytest.fixture(scope="module")
def double() -> Iterator[AwsDouble]:
    with aws_double(programs="s3://code/") as started:
        yield started


def test_moto_is_one_wsgi_application_that_is_made_of_a_function() -> None:
    assert list(inspect.signature(DomainDispatcherApplication).parameters) == ["create_app"]
    assert list(inspect.signature(DomainDispatcherApplication.__call__).parameters) == [
        "self",
        "environ",
        "start_response",
    ]
    assert list(inspect.signature(create_backend_app).parameters) == ["service"]
    answer = Client(DomainDispatcherApplication(create_backend_app)).get("/moto-api/")
    assert answer.status_code == 200


def test_its_handler_is_that_of_werkzeugs_server() -> None:
    """It keeps names of headers whole that S3's metadata needs."""
    assert issubclass(MotoRequestHandler, WSGIRequestHandler)
    assert {"request_handler", "threaded"} <= set(inspect.signature(make_server).parameters)
    assert list(inspect.signature(WSGIRequestHandler.log_request).parameters) == ["self", "code", "size"]


def test_werkzeug_hands_on_the_connection(double: AwsDouble) -> None:
    """Answers are lost by closing it."""
    assert '"werkzeug.socket": self.connection' in inspect.getsource(WSGIRequestHandler.make_environ)


def test_what_is_not_emr_goes_through_to_moto_and_keeps_its_body(double: AwsDouble) -> None:
    s3, iam = double.client("s3"), double.client("iam")
    s3.create_bucket(Bucket="through")
    body = bytes(range(256)) * 40_000
    s3.upload_fileobj(io.BytesIO(body), "through", "a b/ü+%20.bin", ExtraArgs={"Metadata": {"a_b": "c"}})
    found = s3.get_object(Bucket="through", Key="a b/ü+%20.bin")
    assert (found["Body"].read(), found["Metadata"]) == (body, {"a_b": "c"})
    iam.create_role(RoleName="job", AssumeRolePolicyDocument='{"Version": "2012-10-17", "Statement": []}')
    assert iam.get_role(RoleName="job")["Role"]["Arn"] == "arn:aws:iam::123456789012:role/job"
    key = double.client("kms").create_key(Description="für Logs")["KeyMetadata"]
    assert key["Description"] == "für Logs"
    subnets = double.client("ec2").describe_subnets()["Subnets"]
    assert subnets
    assert double.client("sts").get_caller_identity()["Account"] == "123456789012"


def test_conditional_writes_are_kept(double: AwsDouble) -> None:
    s3 = double.client("s3")
    s3.create_bucket(Bucket="conditions")
    s3.put_object(Bucket="conditions", Key="once", Body=b"1", IfNoneMatch="*")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        s3.put_object(Bucket="conditions", Key="once", Body=b"2", IfNoneMatch="*")


OPERATIONS = [
    *("RunJobFlow", "DescribeCluster", "ListClusters", "TerminateJobFlows", "AddJobFlowSteps", "DescribeStep"),
    *("ListSteps", "CancelSteps", "ListInstanceFleets", "ListInstances", "AddTags", "RemoveTags"),
    *("PutAutoTerminationPolicy", "GetAutoTerminationPolicy", "RemoveAutoTerminationPolicy"),
    *("PutManagedScalingPolicy", "GetManagedScalingPolicy", "RemoveManagedScalingPolicy"),
    *("DescribeReleaseLabel", "ListReleaseLabels", "SetTerminationProtection", "CreateSecurityConfiguration"),
]


def test_operations_are_those_of_the_services_model() -> None:
    """A method of ``Emr`` whose name is not an operation's could never be called."""
    methods = {name.removeprefix("_") for kind in (Emr, Catalogue) for name, _ in inspect.getmembers(kind)}
    assert {xform_name(name) for name in OPERATIONS} <= methods
    assert set(OPERATIONS) <= set(service_model().operation_names)


def test_an_operation_that_is_not_here_says_so(double: AwsDouble) -> None:
    with pytest.raises(ClientError, match="the double has no ListStudios"):
        double.client("emr").list_studios()


SHAPES = {
    "Cluster": {"Tags", "AutoTerminate", "TerminationProtected", "Ec2InstanceAttributes", "StepConcurrencyLevel"},
    "StepStatus": {"State", "StateChangeReason", "FailureDetails", "Timeline"},
    "FailureDetails": {"Reason", "Message", "LogFile"},
}


@pytest.mark.parametrize(("shape", "members"), SHAPES.items())
def test_answers_have_the_members_that_boto_reads(shape: str, members: set[str]) -> None:
    assert members <= set(service_model().shape_for(shape).members)

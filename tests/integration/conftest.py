"""What costs more to start than most tests: one Spark session, and one double of AWS for the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from pyspark.sql import SparkSession

from nightshift.spark import session

if TYPE_CHECKING:
    from tests.fakes.aws import AwsDouble


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """The session that stages run in too: ``nightshift.spark.session`` joins the one that is running."""
    with session("tests", threads=2, scratch=tmp_path_factory.mktemp("spark")) as started:
        yield started


@pytest.fixture(scope="module")
def aws() -> Iterator[AwsDouble]:
    """AWS on loopback, with an EMR whose steps run no program that is not wished for."""
    from tests.fakes.aws import aws_double
    from tests.fakes.emr_account import PROGRAMS
    from tests.fakes.emr_night import quick_clients

    with aws_double(programs=PROGRAMS) as double, quick_clients():
        yield double


@pytest.fixture
def double(aws: AwsDouble, monkeypatch: pytest.MonkeyPatch) -> AwsDouble:
    """AWS as new, and the environment of whoever uses it."""
    from tests.fakes.emr_account import prepare

    aws.reset()
    for name, value in prepare(aws).items():
        monkeypatch.setenv(name, value)
    return aws

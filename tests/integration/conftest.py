"""One Spark session for every test that needs one: starting it costs more than most tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from nightshift.spark import session


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """The session that stages run in too: ``nightshift.spark.session`` joins the one that is running."""
    with session("tests", threads=2, scratch=tmp_path_factory.mktemp("spark")) as started:
        yield started

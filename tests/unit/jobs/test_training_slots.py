"""More workers than there can ever be are refused when the spec is read or the night is planned: before anything runs."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from tests.fakes.published_night import demo_spec

from nightshift.errors import SpecError
from nightshift.jobs import make_plan
from nightshift.plan import Interval, Plan
from nightshift.settings import Settings

MASTER = {"NIGHTSHIFT_SPARK_MASTER": "spark://m:7077"}
EMR = {"target": "emr", "emr": {"core_units": 1, "spot_units": 1, "max_units": 2}}


def planned(workers: Any, environ: dict[str, str], **compute: Any) -> Plan:
    training = {"engine": "xgboost", "workers": workers}
    sql = "SELECT time_hour, carrier, flight, dep_delay, arr_delay FROM source"
    spec = demo_spec(training=training, compute=compute, prepare_sql=sql, tables={}, gates={"minimum": 0.5})
    spec = spec.model_copy(
        update={"features": spec.features.model_copy(update={"numeric": ("dep_delay",), "categorical": ("carrier",)})}
    )
    settings = Settings.from_environment(environ)
    return make_plan(spec, Interval.of_day(date(2013, 7, 14)), settings, run_id="r", trigger="test")


@pytest.mark.parametrize(
    ("workers", "environ", "compute"),
    [
        (1, {"NIGHTSHIFT_THREADS": "1"}, {}),
        (2, {"NIGHTSHIFT_THREADS": "2"}, {}),
        ("auto", {"NIGHTSHIFT_THREADS": "1"}, {}),
        (64, MASTER, {"target": "standalone"}),
        (8, {**MASTER, "NIGHTSHIFT_SPARK_CORES": "8"}, {"target": "standalone"}),
        ("auto", {**MASTER, "NIGHTSHIFT_SPARK_CORES": "2"}, {"target": "standalone"}),
        (8, {}, EMR),
        (8, {"NIGHTSHIFT_THREADS": "2"}, EMR),
    ],
)
def test_workers_with_room_are_planned(workers: Any, environ: dict[str, str], compute: dict[str, Any]) -> None:
    assert planned(workers, environ, **compute).spec.training.workers == workers


@pytest.mark.parametrize(
    ("workers", "environ", "compute", "words"),
    [
        (3, {"NIGHTSHIFT_THREADS": "2"}, {}, r"training\.workers is 3, but jobs run on this machine, with 2 threads"),
        (3, MASTER, {"target": "local"}, r"training\.workers is 3, .*NIGHTSHIFT_THREADS"),
        (
            9,
            {**MASTER, "NIGHTSHIFT_SPARK_CORES": "8"},
            {"target": "standalone"},
            r"training\.workers is 9, but a job takes at most 8 cores of the cluster \(NIGHTSHIFT_SPARK_CORES\)",
        ),
        (
            17,
            {"NIGHTSHIFT_COMPUTE": "emr"},
            {},
            r"training\.workers: 17 workers take a core each, and the cluster has 16 at most\..*compute\.emr\.max_units",
        ),
    ],
)
def test_workers_without_room_end_before_anything_is_started(
    workers: int, environ: dict[str, str], compute: dict[str, Any], words: str
) -> None:
    with pytest.raises(SpecError, match=words):
        planned(workers, environ, **compute)


def test_more_workers_than_an_emr_cluster_has_cores_is_an_error_of_the_spec() -> None:
    demo_spec(training={"engine": "xgboost", "workers": 8}, compute=EMR)
    with pytest.raises(
        ValueError, match=r"training\.workers: 9 workers .* up to 8: 4 for each of compute\.emr\.max_units"
    ):
        demo_spec(training={"engine": "xgboost", "workers": 9}, compute=EMR)

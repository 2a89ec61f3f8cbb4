"""Training on a real standalone cluster, by every engine that can: the model of a local Spark, more workers than room,
and workers killed.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.fakes.spark_cluster import SparkCluster, spark_cluster
from tests.fakes.training_window import PARAMS, given, plan_of, rows_of

from nightshift.model.scores import REFERENCE
from nightshift.plan import Plan
from nightshift.stage import StageIO
from nightshift.storage import Ref
from nightshift.train import run

# Py4J leaves its sockets to the garbage collector.
pytestmark = [
    pytest.mark.jvm,
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]

ROWS = 20_000
# Epochs enough that a worker can be killed after the first.
EPOCHS = 10
START_SECONDS = 180
END_SECONDS = 300


@dataclass(frozen=True)
class Case:
    """An engine on two workers; another engine is one more of these.

    Attributes:
        training: The spec's section.
        long_params: Parameters in its place, with which training takes long enough for a worker to be killed in it.
        long_size: How large the model of those is.
        learning: What the log of an executor says as soon as its worker learns together with the other.
        exact: The same rows give the same bytes on any Spark; else the same answers within float32.
    """

    training: dict[str, Any]
    long_params: dict[str, Any]
    long_size: str
    learning: str
    exact: bool


CASES = {
    "xgboost": Case(
        training={"engine": "xgboost", "workers": 2, "params": PARAMS},
        long_params={**PARAMS, "n_estimators": 4_000, "max_depth": 3, "learning_rate": 0.02},
        long_size="4000 trees",
        learning="got rank",
        exact=True,
    ),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkCluster]:
    with spark_cluster(tmp_path_factory.mktemp("cluster")) as started:
        yield started


@pytest.fixture
def cluster(two_workers: SparkCluster) -> SparkCluster:
    """The cluster, with two workers again, whatever the test before did to them."""
    while len(two_workers.workers) < 2:
        two_workers.add_worker()
    return two_workers


@dataclass
class Job:
    """The stage in a process of its own, submitted to the cluster."""

    process: subprocess.Popen[bytes]
    log: Path
    outcome: Path

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_until(self, condition: Callable[[], object], what: str, *, seconds: float = START_SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, f"it ended before {what}:\n{self.text}"
            assert time.monotonic() < deadline, f"{what} took more than {seconds} s:\n{self.text}"
            time.sleep(0.1)

    def result(self, *, seconds: float = END_SECONDS) -> dict[str, Any]:
        """What it left behind; it must end within so many seconds."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still running after {seconds} s:\n{self.text}")
        left: dict[str, Any] = json.loads(self.outcome.read_text())
        return left


@pytest.fixture
def submit(tmp_path: Path) -> Iterator[Callable[[Plan, StageIO, SparkCluster], Job]]:
    jobs: list[Job] = []

    def start(plan: Plan, io: StageIO, cluster: SparkCluster) -> Job:
        folder = tmp_path / f"job-{len(jobs)}"
        folder.mkdir()
        uri, sha256 = io.store.publish_plan(plan)
        upstream = json.dumps({name: asdict(ref) for name, ref in io.upstream.items()})
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "nightshift.jobs.spark_submit", "train", "--plan", uri),
                    *("--plan-sha256", sha256, "--upstream", upstream, "--result", str(folder / "result.json")),
                ],
                env={**os.environ, **cluster.environment, "NIGHTSHIFT_HOME": str(folder / "home")},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        jobs.append(Job(process, folder / "log", folder / "result.json"))
        return jobs[-1]

    yield start
    for job in jobs:
        if job.process.poll() is None:
            job.process.kill()  # Spark's JVM: its Python process ends with it
        job.process.wait()


class Learners:
    """Executors whose worker learns, of the job that is submitted next."""

    def __init__(self, cluster: SparkCluster, case: Case) -> None:
        self._cluster, self._case = cluster, case
        self._before = self._all()

    def count(self) -> int:
        return len(self._all() - self._before)

    def _all(self) -> set[Path]:
        logs = self._cluster.folder.glob("worker-*/app-*/*/std*")
        return {path for path in logs if self._case.learning in path.read_text(errors="replace")}


Submit = Callable[[Plan, StageIO, SparkCluster], Job]


def answers(io: StageIO, ref: Ref) -> list[float]:
    """What the trained model says of probe and holdout."""
    told: list[float] = io.store.read_table(io.store.resolve(ref), "reference").column(REFERENCE).to_pylist()
    return told


def test_the_model_is_that_of_a_local_spark(
    case: Case, cluster: SparkCluster, submit: Submit, spark: object, tmp_path: Path
) -> None:
    rows = rows_of(ROWS)
    plan, io = given(tmp_path / "cluster-night", rows, **case.training)
    there = submit(plan, io, cluster).result()
    plan, io_here = given(tmp_path / "local-night", rows, **case.training)
    here = run(plan, io_here)

    assert there["status"] == "succeeded", there
    assert here.ref is not None
    for key in ("engine", "size", "workers", "train_rows"):
        assert there["summary"][key] == here.summary[key]
    assert answers(io, Ref(**there["ref"])) == pytest.approx(answers(io_here, here.ref), abs=1e-6)
    if case.exact:
        assert there["summary"]["model_digest"] == here.summary["model_digest"]
        assert there["summary"]["threshold"] == here.summary["threshold"]


def test_trials_of_a_search_run_on_the_slots_and_say_what_threads_say(
    cluster: SparkCluster, submit: Callable[[Plan, StageIO, SparkCluster], Job], tmp_path: Path
) -> None:
    search = {"trials": 6, "folds": 2, "parallel": 2, "params": {"max_depth": [2, 6], "reg_lambda": [0, 5]}}
    options: dict[str, Any] = {"params": {"n_estimators": 20}, "search": search}
    [first, *_] = plan_of(tmp_path / "any", **options).windows.train.days()
    rows = rows_of(7 * 24 * 40)
    times = [first.start + timedelta(hours=number // 40) for number in range(len(rows))]
    rows = rows.append_column("__time", pa.array(times, pa.timestamp("us", tz="UTC")))

    there = submit(*given(tmp_path / "cluster-night", rows, **options), cluster)
    result = there.result()
    here = run(*given(tmp_path / "local-night", rows, **options))

    assert result["status"] == "succeeded", result
    assert "search: trials are tasks of Spark" in there.text
    assert "search: trial 6 of 6: roc_auc" in there.text
    names = ("search", "model_digest", "threshold")
    assert {name: result["summary"][name] for name in names} == {name: here.summary[name] for name in names}


def test_spark_ml_outlives_a_worker_and_learns_what_it_learns_on_a_local_spark(
    cluster: SparkCluster, submit: Callable[[Plan, StageIO, SparkCluster], Job], spark: object, tmp_path: Path
) -> None:
    rows, params = rows_of(ROWS), {"algorithm": "gbt", "max_iter": 80, "max_depth": 3}
    job = submit(*given(tmp_path / "cluster-night", rows, engine="spark_ml", params=params), cluster)
    job.wait_until(lambda: "train: 15 s, " in job.text, "it learns")
    cluster.kill_worker()
    there = job.result()
    here = run(*given(tmp_path / "local-night", rows, engine="spark_ml", params=params))

    assert there["status"] == "succeeded", there
    assert there["summary"]["model_digest"] == here.summary["model_digest"]
    assert there["summary"]["size"].startswith("80 trees, ")


def test_more_workers_than_the_cluster_has_slots_fail_within_a_bound(
    cluster: SparkCluster, submit: Submit, tmp_path: Path
) -> None:
    learners = Learners(cluster, CASES["xgboost"])
    job = submit(*given(tmp_path / "night", rows_of(2_000), workers=3), cluster)
    error = job.result()["error"]

    assert (error["type"], error["retryable"]) == ("JobError", True)
    assert re.match(
        r"training\.workers is 3, but the Spark cluster spark://\S+ gives this job 2 slots", error["message"]
    )
    assert learners.count() == 0


def test_auto_that_comes_to_one_takes_nothing_of_the_cluster(
    cluster: SparkCluster, submit: Submit, tmp_path: Path
) -> None:
    before = len(cluster.applications(completed=True))
    params = {**PARAMS, "n_estimators": 5}
    job = submit(*given(tmp_path / "night", rows_of(2_000), workers="auto", params=params), cluster)
    left = job.result()

    assert left["summary"]["workers"] == 1, left
    assert "workers: auto means 1 for 2000 rows x 7 features, 5 trees: nothing says how many cores" in job.text
    assert (len(cluster.applications(completed=True)), cluster.applications()) == (before, [])


def test_a_killed_worker_that_comes_back_costs_time_only(
    case: Case, cluster: SparkCluster, submit: Submit, tmp_path: Path
) -> None:
    learners = Learners(cluster, case)
    job = submit(*given(tmp_path / "night", rows_of(ROWS), **{**case.training, "params": case.long_params}), cluster)
    job.wait_until(lambda: learners.count() == 2, "both workers learn")
    cluster.kill_worker()
    job.wait_until(lambda: "an executor was lost" in job.text, "the loss is noticed", seconds=60)
    cluster.add_worker()
    result = job.result()

    assert result["status"] == "succeeded", result
    assert result["summary"]["size"] == case.long_size
    assert "Training begins anew when there are 2 slots." in job.text


def test_a_killed_worker_that_stays_away_is_a_failure_within_a_bound(
    case: Case, cluster: SparkCluster, submit: Submit, tmp_path: Path
) -> None:
    learners = Learners(cluster, case)
    plan, io = given(tmp_path / "night", rows_of(ROWS), **{**case.training, "params": case.long_params})
    job = submit(plan, io, cluster)
    job.wait_until(lambda: learners.count() == 2, "both workers learn")
    cluster.kill_worker()
    error = job.result(seconds=180)["error"]

    assert (error["type"], error["retryable"]) == ("JobError", True)
    assert error["message"].startswith(
        "an executor was lost while it trained, and no other came: training.workers is 2"
    )
    assert "gives this job 1 slot " in error["message"]
    assert io.store.latest("train", plan.interval.key) is None


@pytest.mark.torch
def test_a_network_goes_on_from_its_checkpoint_when_a_worker_comes_back(
    cluster: SparkCluster, submit: Callable[[Plan, StageIO, SparkCluster], Job], tmp_path: Path
) -> None:
    """The ranks run the code that was sent along, in processes of their own."""
    params = {"epochs": EPOCHS, "batch_size": 32}
    plan, io = given(tmp_path / "night", rows_of(ROWS), engine="torch", workers=2, params=params)
    job = submit(plan, io, cluster)
    job.wait_until(lambda: "train: epoch 1/" in job.text, "the first epoch", seconds=END_SECONDS)
    cluster.kill_worker()
    job.wait_until(lambda: "an executor was lost" in job.text, "the loss is noticed", seconds=60)
    cluster.add_worker()
    result = job.result()

    assert result["status"] == "succeeded", result
    assert f"train: epoch {EPOCHS}/{EPOCHS} logloss 0." in job.text
    assert "from a checkpoint" in job.text
    assert not [found.name for found in io.store.objects.walk("train") if "checkpoint" in found.name]

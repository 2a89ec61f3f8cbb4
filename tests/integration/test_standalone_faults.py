"""What can happen to a job on a Spark cluster: workers die, the driver dies, there is no room, nobody answers."""

from __future__ import annotations

import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.fakes.spark_cluster import SparkCluster, spark_cluster
from tests.fakes.toy_night import PLACES, SQL, ToyNight, all_days

from nightshift.errors import JobError
from nightshift.jobs import Cancellation, Job, publish, run_job, spark_submit
from nightshift.jobs.placement import application_in
from nightshift.stage import StageResult

pytestmark = [pytest.mark.jvm, pytest.mark.long]

# The same rows, with some tenths of a second of work for each.
SLOW_SQL = SQL.replace("s.x,", "s.x + 0 * aggregate(sequence(1, {steps}), 0D, (sum, i) -> sum + sin(i)) AS x,")
SLOW = SLOW_SQL.format(steps=1_000_000)
ENDLESS = SLOW_SQL.format(steps=100_000_000)


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkCluster]:
    with spark_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
def cluster(two_workers: SparkCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SparkCluster:
    """The cluster, with two workers again, whatever the test before did to them."""
    for name, value in {**two_workers.environment, "NIGHTSHIFT_HOME": str(tmp_path / "home")}.items():
        monkeypatch.setenv(name, value)
    while len(two_workers.workers) < 2:
        two_workers.add_worker()
    return two_workers


def job(tmp_path: Path, *, sql: str = SQL) -> Job:
    night = ToyNight(tmp_path)
    validated = night.validated(all_days(), {"places": PLACES})
    return Job("preprocess", publish(night.plan(prepare_sql=sql)), {"validate": validated})


def eventually(condition: Callable[[], bool], *, what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"still not after {seconds} s: {what}"
        threading.Event().wait(0.1)


class Running:
    """A job in a thread of its own.

    Attributes:
        lines: What it said so far.
        wish: Ends it.
        outcome: Its result or error, when it has one.
    """

    def __init__(self, work: Job) -> None:
        self.lines: list[str] = []
        self.wish = Cancellation()
        self.outcome: StageResult | JobError | None = None
        self._thread = threading.Thread(target=self._run, args=[work])

    def __enter__(self) -> Running:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.wish.request("the test is over")
        self._thread.join()

    def _run(self, work: Job) -> None:
        try:
            self.outcome = run_job(work, on_line=self.lines.append, cancellation=self.wish, on_cluster=True)
        except JobError as error:
            self.outcome = error

    def said(self, text: str) -> bool:
        return any(text in line for line in self.lines)

    def wait(self, seconds: float = 120) -> None:
        self._thread.join(seconds)
        assert not self._thread.is_alive(), "\n".join(self.lines[-20:])


def computes(running: Running, cluster: SparkCluster) -> bool:
    """Whether the job has begun to read rows, on both workers."""
    assert running.outcome is None, running.lines
    return running.said("side tables: places") and [app["cores"] for app in cluster.applications()] == [2]


def test_a_worker_killed_at_work_does_not_matter(tmp_path: Path, cluster: SparkCluster) -> None:
    with Running(job(tmp_path, sql=SLOW)) as running:
        eventually(lambda: computes(running, cluster), what="rows are read")
        cluster.kill_worker()
        running.wait()
    assert isinstance(running.outcome, StageResult), running.lines
    assert running.outcome.status == "succeeded"
    assert running.said("ERROR spark: Lost executor"), running.lines


def test_without_any_worker_left_the_job_ends_and_says_so(
    tmp_path: Path, cluster: SparkCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTSHIFT_SPARK_WAIT", "5")
    with Running(job(tmp_path, sql=ENDLESS)) as running:
        eventually(lambda: computes(running, cluster), what="rows are read")
        for worker in cluster.workers:
            cluster.kill_worker(worker)
        running.wait()
    assert isinstance(running.outcome, JobError), running.lines
    assert "gave the job no executor within 5 s" in running.outcome.message


def test_more_than_any_worker_has_is_refused_with_both_sides_told(
    tmp_path: Path, cluster: SparkCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTSHIFT_SPARK_WAIT", "3")
    monkeypatch.setenv("NIGHTSHIFT_SPARK_EXECUTOR_MEMORY", "3g")
    with pytest.raises(JobError, match="no executor within 3 s") as caught:
        run_job(job(tmp_path), on_line=print, on_cluster=True)
    told = str(caught.value)
    assert "Asked for: an executor with 1 core and 3g of memory" in told
    assert told.count("127.0.0.1 1 of 1 cores and 1024 of 1024 MiB") == 2
    assert "NIGHTSHIFT_SPARK_EXECUTOR_MEMORY" in told
    eventually(lambda: cluster.applications() == [], what="the application is gone")


STARTER = """
    import json, sys
    from nightshift.jobs import Job, PublishedPlan, run_job
    from nightshift.storage import Ref
    uri, sha256, ref = sys.argv[1:]
    job = Job("preprocess", PublishedPlan(uri, sha256), {"validate": Ref(**json.loads(ref))})
    run_job(job, on_line=lambda line: print(line, flush=True), on_cluster=True)
"""


def test_kill_9_of_the_task_frees_the_cluster(tmp_path: Path, cluster: SparkCluster) -> None:
    import json
    from dataclasses import asdict

    work = job(tmp_path, sql=ENDLESS)
    arguments = [work.plan.uri, work.plan.sha256, json.dumps(asdict(work.upstream["validate"]))]
    task = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(STARTER), *arguments], stdout=subprocess.PIPE, text=True
    )
    try:
        assert task.stdout is not None
        while not application_in(line := task.stdout.readline()):
            assert line, "the task ended early"
        assert len(cluster.applications()) == 1
    finally:
        task.kill()
        task.communicate()
    eventually(lambda: cluster.applications() == [], what="the application is gone", seconds=20)
    eventually(
        lambda: all(worker["coresused"] == 0 for worker in cluster.state()["workers"] if worker["state"] == "ALIVE"),
        what="the workers are free",
        seconds=20,
    )


def test_a_cancelled_job_frees_the_cluster(tmp_path: Path, cluster: SparkCluster) -> None:
    with Running(job(tmp_path, sql=ENDLESS)) as running:
        eventually(lambda: computes(running, cluster), what="rows are read")
        running.wish.request("not needed any more")
        running.wait(30)
    assert isinstance(running.outcome, JobError)
    assert "not needed any more" in running.outcome.message
    eventually(lambda: cluster.applications() == [], what="the application is gone", seconds=20)


# -- nobody there -----------------------------------------------------------------------------------------


def free_port() -> int:
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_a_master_that_is_down_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job looks for it for 45 s, for it may be about to come back; no JVM is started for that."""
    monkeypatch.setattr(spark_submit, "MASTER_SECONDS", 1)
    master = f"spark://127.0.0.1:{free_port()}"
    with pytest.raises(JobError, match=f"the Spark master {master} cannot be reached: Connection refused"):
        spark_submit.address_towards(master)


def test_the_first_master_that_answers_decides() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
        assert spark_submit.address_towards(f"spark://127.0.0.1:{free_port()},127.0.0.1:{port}") == "127.0.0.1"


def test_a_job_without_a_master_ends_within_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSHIFT_SPARK_MASTER", f"spark://127.0.0.1:{free_port()}")
    with Running(job(tmp_path)) as running:
        running.wait(75)
    assert isinstance(running.outcome, JobError)
    assert "cannot be reached" in running.outcome.message


def test_another_secret_than_the_clusters_is_refused(
    tmp_path: Path, cluster: SparkCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_SPARK_AUTH_SECRET", "0" * 32)
    with Running(job(tmp_path)) as running:
        running.wait(150)
    assert isinstance(running.outcome, JobError)
    assert "did not take the application" in running.outcome.message
    assert "same secret" in str(running.outcome)


def test_when_the_whole_cluster_goes_the_job_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSHIFT_SPARK_WAIT", "5")
    with spark_cluster(tmp_path / "cluster") as cluster:
        for name, value in cluster.environment.items():
            monkeypatch.setenv(name, value)
        with Running(job(tmp_path, sql=ENDLESS)) as running:
            eventually(lambda: computes(running, cluster), what="rows are read")
            for daemon in cluster.daemons:
                daemon.kill()
            running.wait()
    assert isinstance(running.outcome, JobError), running.lines
    assert "no executor within 5 s" in running.outcome.message

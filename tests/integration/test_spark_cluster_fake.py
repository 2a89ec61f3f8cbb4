"""The cluster that other tests use: it registers its workers, loses one that is killed, and leaves nothing behind."""

from __future__ import annotations

import re
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest
from tests.fakes.spark_cluster import HOST, spark_cluster

pytestmark = pytest.mark.jvm


def test_a_cluster_comes_up_loses_and_gains_a_worker_and_leaves_no_process(tmp_path: Path) -> None:
    with spark_cluster(tmp_path / "cluster", cores=2, memory="512m") as cluster:
        children = [child for daemon in cluster.daemons for child in psutil.Process(daemon.process.pid).children(True)]
        processes = [child for child in children if child.status() != psutil.STATUS_ZOMBIE]
        state = cluster.state()
        assert len(processes) == 3
        assert re.fullmatch(rf"spark://{re.escape(HOST)}:\d+", cluster.url)
        assert state["url"] == cluster.url
        assert [(worker["cores"], worker["memory"]) for worker in state["workers"]] == [(2, 512), (2, 512)]
        assert cluster.applications() == cluster.applications(completed=True) == []
        assert cluster.secret not in " ".join(part for process in processes for part in process.cmdline())

        first = cluster.kill_worker()
        assert not first.alive
        assert len(cluster.workers) == 1
        deadline = time.monotonic() + 60
        while cluster.registered() != 1:
            assert time.monotonic() < deadline, cluster.state()
            time.sleep(0.1)
        cluster.add_worker()
        assert cluster.registered() == 2

    assert not any(process.is_running() for process in processes)
    assert not any(daemon.alive for daemon in cluster.daemons)
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"{cluster.ui}/json/", timeout=5)


def test_a_cluster_ends_when_its_block_fails(tmp_path: Path) -> None:
    with pytest.raises(KeyError), spark_cluster(tmp_path / "cluster", workers=1) as cluster:
        raise KeyError
    assert not any(daemon.alive for daemon in cluster.daemons)

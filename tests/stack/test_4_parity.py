"""Local ≡ cluster: one spec, on this machine with local disk, and on the Spark cluster with MinIO."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.stack.stack import Stack

# A model of its own: what a night is compared with, its earlier nights, is the same nothing in both places.
LIKE, MODEL, NIGHT, DAY = "flight_delays", "parity", "2013-08-02", "2013-08-01"


@pytest.fixture(scope="module")
def cluster(stack: Stack) -> dict[str, dict[str, Any]]:
    """Manifests of the night on the cluster, by dataset."""
    models = stack.root / "dags" / "models"
    spec = (models / f"{LIKE}.yaml").read_text()
    told = spec.replace(f"model: {LIKE}\n", f"model: {MODEL}\n").replace(f"{LIKE}.sql", f"{MODEL}.sql")
    (models / f"{MODEL}.sql").write_text((models / f"{LIKE}.sql").read_text())
    (models / f"{MODEL}.yaml").write_text(told)
    run = stack.trigger(MODEL, NIGHT)
    assert stack.wait(MODEL, run, seconds=900) == "success", stack.told(MODEL, run)
    return {stage: stack.manifests(MODEL, stage, DAY)[-1] for stage in ("preprocess", "train", "evaluate")} | {
        f"valid {day}": stack.manifests(MODEL, "valid", day)[-1] for day in ("2013-06-01", "2013-07-14", DAY)
    }


@pytest.fixture(scope="module")
def local(stack: Stack, cluster: object, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The same, by ``nightshift run`` on this machine."""
    home = tmp_path_factory.mktemp("local")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NIGHTSHIFT", "AWS"))}
    environ = {**kept, "NIGHTSHIFT_HOME": str(home), "NIGHTSHIFT_MODELS": str(stack.root / "dags" / "models")}
    program = str(Path(sys.prefix) / "bin" / "nightshift")
    done = subprocess.run(
        [program, "run", MODEL, "--night", NIGHT], env=environ, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    area = home / "store" / "dev" / MODEL

    def newest(dataset: str, day: str) -> dict[str, Any]:
        return dict(json.loads(sorted((area / dataset / day).glob("v*.json"))[-1].read_text()))

    return {stage: newest(stage, DAY) for stage in ("preprocess", "train", "evaluate")} | {
        f"valid {day}": newest("valid", day) for day in ("2013-06-01", "2013-07-14", DAY)
    }


@pytest.mark.parametrize("dataset", ["valid 2013-06-01", "valid 2013-07-14", f"valid {DAY}", "preprocess"])
def test_snapshots_have_equal_content_digests(
    cluster: dict[str, dict[str, Any]], local: dict[str, dict[str, Any]], dataset: str
) -> None:
    assert cluster[dataset]["digest"] == local[dataset]["digest"]
    assert cluster[dataset]["outputs"] == local[dataset]["outputs"]


def test_the_model_is_the_same_to_the_last_byte(cluster: dict[str, Any], local: dict[str, Any]) -> None:
    """Both run on this machine's architecture, with the same packages and threads."""
    assert cluster["train"]["result"]["model_digest"] == local["train"]["result"]["model_digest"]


def test_metrics_are_equal(cluster: dict[str, Any], local: dict[str, Any]) -> None:
    there, here = (found["evaluate"]["result"]["challenger"] for found in (cluster, local))
    assert {"roc_auc", "log_loss", "brier", "rows"} <= set(here)
    assert there.pop("confusion") == here.pop("confusion")
    assert there == pytest.approx(here, abs=1e-6)


def test_the_verdict_is_the_same(cluster: dict[str, Any], local: dict[str, Any]) -> None:
    for key in ("verdict", "status"):
        assert cluster["evaluate"]["result"][key] == local["evaluate"]["result"][key]
    assert local["evaluate"]["result"]["verdict"] == "first"

"""Nights of a static source, each stage a real job: promoted, nothing to do, new rows against the champion."""

from __future__ import annotations

import gzip
import json
from datetime import date, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from nightshift.jobs import Job, make_plan, publish, run_job
from nightshift.ledger import Ledger
from nightshift.plan import STAGES, Interval
from nightshift.report.nights import nights
from nightshift.settings import Settings
from nightshift.spec.loader import load_spec
from nightshift.stage import StageResult
from nightshift.storage import Store

pytestmark = [pytest.mark.jvm, pytest.mark.long, pytest.mark.torch]

EXAMPLE = Path(__file__).parents[2] / "dags" / "models" / "digits.yaml"
PACKAGED = "  kind: package\n  package: sklearn\n  file: datasets/data/digits.csv.gz\n"
BUSY = "deploy: {latency: {budget: 10s, versus_champion: 1000}}  # the machine of a test may be busy\nretries: 0\n"


class Site:
    """The example in a folder of its own, its rows in a file that can change."""

    def __init__(self, root: Path) -> None:
        self.rows = root / "digits.csv.gz"
        self.path = root / "models" / "digits.yaml"
        self.path.parent.mkdir()
        text = EXAMPLE.read_text()
        assert PACKAGED in text
        self.path.write_text(text.replace(PACKAGED, f"  kind: files\n  uri: {self.rows}\n") + BUSY)
        self.path.with_suffix(".sql").write_text(EXAMPLE.with_suffix(".sql").read_text())
        self.settings = Settings.from_environment(
            {"NIGHTSHIFT_MODELS": str(self.path.parent), "NIGHTSHIFT_HOME": str(root / "home")}
        )
        self.store = Store.open(self.settings.storage, env=self.settings.env, model="digits")
        self.lines: list[str] = []

    def write(self, lines: list[str]) -> None:
        self.rows.write_bytes(gzip.compress("".join(lines).encode()))

    def run(self, night: date, *, until: str = "deploy") -> dict[str, StageResult]:
        """A night as Airflow runs it, up to a stage: what follows a skipped stage is skipped."""
        plan = make_plan(
            load_spec(self.path), Interval.of_day(night - timedelta(days=1)), self.settings, run_id="r", trigger="test"
        )
        published, results = publish(plan), dict[str, StageResult]()
        for stage in STAGES:
            refs = {name: result.ref for name, result in results.items() if result.ref}
            results[stage] = run_job(Job(stage, published, refs), on_line=self.lines.append)
            if results[stage].status == "skipped" or stage == until:
                break
        return results

    def keys(self, result: StageResult, table: str) -> set[str]:
        assert result.ref is not None
        manifest = self.store.resolve(result.ref)
        return set(self.store.read_table(manifest, table, columns=["row"]).column("row").to_pylist())

    def evidence(self, result: StageResult, path: str) -> Any:
        assert result.ref is not None
        return json.loads(self.store.read(self.store.resolve(result.ref), path))


def packaged() -> list[str]:
    found = find_spec("sklearn")
    assert found is not None
    assert found.origin is not None
    data = Path(found.origin).with_name("datasets") / "data" / "digits.csv.gz"
    return gzip.decompress(data.read_bytes()).decode().splitlines(keepends=True)


@pytest.mark.timeout(900)
def test_a_static_source_is_learned_once_and_again_when_it_has_changed(tmp_path: Path) -> None:
    site, rows, night = Site(tmp_path), packaged(), date(2024, 3, 1)
    site.write(rows[500:])

    first = site.run(night)

    assert first["deploy"].status == "succeeded", first["evaluate"].summary["sentence"]
    held_out, learned = site.keys(first["preprocess"], "holdout"), site.keys(first["preprocess"], "train")
    assert (held_out & learned, len(held_out | learned)) == (set(), len(rows) - 500)
    assert site.evidence(first["train"], "model.json")["held_out"]["below"] == 2500

    second = site.run(night + timedelta(days=1))

    assert (list(second), second["ingest"].status) == (["ingest"], "skipped")
    assert "Nothing has changed since night 2024-03-01" in str(second["ingest"].reason)
    told = nights(site.store)
    assert [one.verdict for one in told] == ["promoted", "skipped"]
    assert told[1].reason == second["ingest"].reason
    assert len(Ledger(site.store).entries()) == 1

    site.write(rows)  # new rows come first: the others have other places, and stay on their sides
    third = site.run(night + timedelta(days=2), until="evaluate")

    assert held_out < site.keys(third["preprocess"], "holdout")
    assert learned < site.keys(third["preprocess"], "train")
    evaluation = site.evidence(third["evaluate"], "evaluation.json")
    champion = evaluation["champion"]
    assert (champion["version"], champion["unit"], evaluation["verdict"] != "not_comparable") == (1, "row", True)
    assert champion["rows"] == champion["gains"]["deciding"]["days"] == len(site.keys(third["preprocess"], "holdout"))

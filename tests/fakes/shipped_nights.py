"""Nights that were trained, judged, registered and promoted: real models and blessings, made once and copied."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml
from tests.fakes.trained_night import FIRST, Night, gates, small_plan, small_spec, trained_night

from nightshift import deploy, evaluate
from nightshift.deploy import stage as deploy_stage
from nightshift.ledger import Entry, Ledger
from nightshift.registry.aliases import Applied
from nightshift.stage import StageIO, StageResult
from nightshift.storage import Store

MODEL = "parcels"
REGISTERED = "test-parcels"
# Any challenger is "not worse": what is tested here is what comes after the gate.
WIDE = gates(minimum=0.6, versus_champion={"margin": 0.1, "least": {"days": 2, "rows": 400, "of_each_class": 50}})


class NoAliases:
    """Stands in for MLflow where a night is only being prepared."""

    def read(self) -> Applied:
        return Applied({}, None)

    def apply(self, roles: Mapping[str, int | None], *, sequence: int) -> tuple[str, ...]:
        del roles, sequence
        return ()


def night_of(number: int) -> date:
    return FIRST + timedelta(days=number - 1)


def judged(root: Path, number: int, **changes: Any) -> Night:
    """The night with this number after evaluate and register, its version with the same number."""
    plan = small_plan(root, night_of(number), trigger="manual", spec=small_spec(**{"gates": WIDE, **changes}))
    return registered(trained_night(root, plan=plan).run(evaluate)[0], number)


def registered(night: Night, number: int) -> Night:
    """A night after evaluate, after a register stage without MLflow."""
    about = {
        "model_name": REGISTERED,
        "model_version": number,
        "model_digest": night.io.given("train").file("graph.onnx").sha256,
        "mlflow_run_id": f"run-{number}",
        "standing": "refused" if night.io.given("evaluate").result["status"] == "refused" else "accepted",
        "approval": night.plan.spec.approval,
    }
    run_key = f"key-{number}-{night.io.upstream['evaluate'].digest}"
    attempt = night.store.attempt("register", night.plan.interval.key)
    attempt.put("registration.json", json.dumps({**about, "run_key": run_key}).encode())
    inputs = {stage: night.io.upstream[stage] for stage in ("preprocess", "train", "evaluate")}
    manifest = attempt.publish(stage_key=run_key, code="code", inputs=inputs, result=about)
    return night.after(StageResult.of(manifest, reused=False))


def shipped(root: Path, nights: int) -> list[Night]:
    """Nights 1 to ``nights``, each promoted, by the real check in a fresh process; MLflow is told nothing."""
    made = []
    with patch.object(deploy_stage, "Aliases", lambda uri, model: NoAliases()):
        for number in range(1, nights + 1):
            night, result = judged(root, number).run(deploy)
            assert result.status == "succeeded", result.reason
            made.append(night)
    return made


def moved(night: Night, root: Path) -> Night:
    """The same night in a copy of its storage below another root."""
    plan = replace(night.plan, storage=(root / "store").as_uri(), mlflow_uri=f"sqlite:///{root / 'mlflow.db'}")
    scratch = root / "scratch" / plan.interval.key
    scratch.mkdir(parents=True, exist_ok=True)
    return Night(plan, StageIO(Store.of(plan), dict(night.io.upstream), scratch))


def copied(nights: list[Night], source: Path, root: Path) -> list[Night]:
    shutil.copytree(source / "store", root / "store")
    return [moved(night, root) for night in nights]


def write_spec(root: Path) -> Path:
    """The folder of specs, with that of the nights' model."""
    models = root / "dags" / "models"
    models.mkdir(parents=True)
    raw: dict[str, Any] = small_spec(gates=WIDE).model_dump(mode="json", exclude_defaults=True)
    sql = raw.pop("prepare_sql")
    (models / f"{MODEL}.sql").write_text(sql)
    (models / f"{MODEL}.yaml").write_text(yaml.safe_dump({**raw, "source": {**raw["source"], "kind": "files"}}))
    return models


def environment(root: Path, mlflow_uri: str) -> dict[str, str]:
    """What the command line needs to find them."""
    return {
        "NIGHTSHIFT_MODELS": str(root / "dags" / "models"),
        "NIGHTSHIFT_HOME": str(root / ".nightshift"),
        "NIGHTSHIFT_STORAGE": (root / "store").as_uri(),
        "NIGHTSHIFT_ENV": "test",
        "NIGHTSHIFT_MLFLOW_URI": mlflow_uri,
        "COLUMNS": "200",
    }


def kinds(store: Store) -> list[tuple[str, int | None]]:
    """What the ledger says happened, with the champion after it."""
    return [(entry.kind, entry.to_version) for entry in Ledger(store).entries()]


def last(store: Store) -> Entry:
    return Ledger(store).entries()[-1]

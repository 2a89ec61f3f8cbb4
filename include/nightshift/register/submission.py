"""What MLflow is told about a version: parameters, metrics, where everything came from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from nightshift.model.session import Scorer
from nightshift.plan import STAGES, Plan, digest_of
from nightshift.register.parity_gate import ParityReport
from nightshift.registry.mlflow_registry import DatasetUse, Submission
from nightshift.stage import StageIO
from nightshift.storage import Manifest

METRICS = ("roc_auc", "average_precision", "log_loss", "brier", "precision", "recall", "f1")
EXAMPLE_ROWS = 2


def run_key(plan: Plan, io: StageIO) -> str:
    """Key of one registration: the same model with the same evaluation is the same version.

    Of contents, not of code: a newer Nightshift finds the version that an older one made.
    """
    return digest_of(
        {
            "model": plan.model,
            "env": plan.env,
            "interval": plan.interval.key,
            "train": io.upstream["train"].digest,
            "evaluate": io.upstream["evaluate"].digest,
        }
    )


def describe(plan: Plan, io: StageIO, scorer: Scorer, parity: ParityReport) -> Submission:
    """Everything that is said about the version.

    Args:
        plan: The run's plan.
        io: With preprocess, train and evaluate upstream.
        scorer: The loaded graph.
        parity: The parity gate's result.
    """
    train, evaluate = io.given("train"), io.given("evaluate")
    model_card = io.store.read(train, "model.json")
    evaluation = io.store.read(evaluate, "evaluation.json")
    return Submission(
        run_key=run_key(plan, io),
        run_name=f"{plan.model} {plan.interval.night}",
        graph=io.store.read(train, "graph.onnx"),
        digest=scorer.digest,
        columns=scorer.columns,
        example=_example(io, scorer),
        params=_params(plan, json.loads(model_card)),
        metrics=_metrics(json.loads(evaluation), train, parity),
        tags=_tags(plan, io, evaluate.result, scorer.digest),
        datasets=_datasets(io),
        artifacts={"evaluation.json": evaluation, "model.json": model_card},
        timestamp=int(plan.interval.end.timestamp() * 1000),
    )


def _example(io: StageIO, scorer: Scorer) -> dict[str, list[Any]]:
    """The first rows of the holdout."""
    columns = [name for name, _ in scorer.columns]
    rows = io.store.read_table(io.given("preprocess"), "holdout", columns=columns).slice(0, EXAMPLE_ROWS)
    found: dict[str, list[Any]] = rows.to_pydict()
    return found


def _params(plan: Plan, about: Mapping[str, Any]) -> dict[str, Any]:
    windows = plan.windows
    return {
        **about["params"],
        "engine": about["engine"],
        "engine_version": about["engine_version"],
        "seed": about["seed"],
        "threads": about["threads"],
        "threshold": about["threshold"],
        "features": len(about["feature_names"]),
        "window.train": str(windows.train),
        "window.holdout": str(windows.holdout),
        "fitted_until": about["fitted_until"],
        "gates.minimum": plan.spec.gates.minimum,
        "gates.versus_champion.margin": plan.spec.gates.versus_champion.margin,
    }


def _metrics(evaluation: Mapping[str, Any], train: Manifest, parity: ParityReport) -> dict[str, float]:
    champion = (evaluation["champion"] or {}).get("metrics")
    baselines = evaluation["baselines"]
    return {
        **{name: evaluation["challenger"]["metrics"][name] for name in METRICS},
        **({f"champion_{name}": champion[name] for name in METRICS} if champion else {}),
        "majority_log_loss": baselines["majority"]["log_loss"],
        "best_single_feature_roc_auc": baselines["best_single_feature"]["roc_auc"],
        "parity_max_diff": parity.max_diff,
        "parity_rows": float(parity.rows),
        "train_rows": float(train.result["train_rows"]),
        "train_seconds": float(train.result["train_seconds"]),
    }


def _tags(plan: Plan, io: StageIO, verdict: Mapping[str, Any], digest: str) -> dict[str, str]:
    before = STAGES[: STAGES.index("register")]
    stages = {name: io.given(name) for name in before if name in io.upstream}
    lineage = {
        **{f"nightshift.{name}": str(manifest.ref) for name, manifest in stages.items()},
        **{f"nightshift.{name}.stage_key": manifest.stage_key for name, manifest in stages.items()},
        **{f"nightshift.{name}.digest": manifest.digest for name, manifest in stages.items()},
    }
    return {
        "nightshift.model": plan.model,
        "nightshift.env": plan.env,
        "nightshift.owner": plan.spec.owner,
        "nightshift.interval": str(plan.interval),
        "nightshift.night": plan.interval.night.isoformat(),
        "nightshift.status": "refused" if verdict.get("status") == "refused" else "accepted",
        "nightshift.verdict": verdict["verdict"],
        "nightshift.sentence": verdict["sentence"],
        "nightshift.model_digest": digest,
        "nightshift.code": plan.code_version,
        "nightshift.plan_run_id": plan.run_id,
        "nightshift.trigger": plan.trigger,
        "nightshift.storage": io.store.objects.root,
        **lineage,
    }


def _datasets(io: StageIO) -> list[DatasetUse]:
    preprocess = io.given("preprocess")
    uses = []
    for name, context in (("train", "training"), ("holdout", "evaluation")):
        output = preprocess.outputs[name]
        uri = io.store.objects.uri(f"{preprocess.folder}/{output.prefix}")
        uses.append(DatasetUse(name, context, output.digest, uri, output.rows, output.schema))
    return uses

"""What MLflow is told about a version: parameters, metrics, where everything came from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from nightshift.model.session import Scorer
from nightshift.plan import STAGES, Plan, digest_of
from nightshift.register.parity_gate import ParityReport
from nightshift.register.searched import trials_of
from nightshift.registry.mlflow_registry import DatasetUse, Submission
from nightshift.registry.model_folder import outputs_of
from nightshift.spec.gate_metrics import METRICS as DECIDERS
from nightshift.spec.values import Task
from nightshift.stage import StageIO
from nightshift.storage import Manifest

# Of the challenger and of the champion, by task.
METRICS: dict[Task, tuple[str, ...]] = {
    "binary": ("roc_auc", "average_precision", "log_loss", "brier", "precision", "recall", "f1"),
    "multiclass": ("accuracy", "log_loss", "roc_auc_ovr", "balanced_accuracy", "f1_macro"),
    "regression": ("rmse", "mae", "r2", "median_absolute_error", "bias"),
}
# Of always answering the same, which is called majority or constant.
OF_GUESS: dict[Task, tuple[str, ...]] = {
    "binary": ("log_loss",),
    "multiclass": ("accuracy", "log_loss"),
    "regression": ("rmse", "mae"),
}
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
        outputs=outputs_of(scorer.task, scorer.classes),
        example=_example(io, scorer),
        params=_params(plan, json.loads(model_card)),
        metrics=_metrics(json.loads(evaluation), scorer.task, train, parity),
        tags=_tags(plan, io, evaluate.result, scorer.digest),
        datasets=_datasets(io),
        artifacts={"evaluation.json": evaluation, "model.json": model_card},
        timestamp=int(plan.interval.end.timestamp() * 1000),
        trials=trials_of(io.store, train),
    )


def _example(io: StageIO, scorer: Scorer) -> dict[str, list[Any]]:
    """The first rows of the holdout."""
    columns = [name for name, _ in scorer.columns]
    rows = io.store.read_table(io.given("preprocess"), "holdout", columns=columns).slice(0, EXAMPLE_ROWS)
    found: dict[str, list[Any]] = rows.to_pydict()
    return found


def _params(plan: Plan, about: Mapping[str, Any]) -> dict[str, Any]:
    gates = plan.spec.gates
    return {
        **about["params"],
        "engine": about["engine"],
        "engine_version": about["engine_version"],
        "seed": about["seed"],
        "threads": about["threads"],
        "task": plan.spec.label.task,
        **({} if about["threshold"] is None else {"threshold": about["threshold"]}),
        **({f"search.{name}": value for name, value in about["search"].items()} if "search" in about else {}),
        "features": len(about["feature_names"]),
        **_held_out(plan, about),
        f"gates.{'minimum' if gates.decider.higher_is_better else 'maximum'}": gates.bound,
        "gates.versus_champion.margin": gates.margins.deciding,
    }


def _held_out(plan: Plan, about: Mapping[str, Any]) -> dict[str, Any]:
    split, windows = plan.spec.split, plan.windows
    if split is not None:
        return {"split.holdout": split.holdout, "split.key": ", ".join(plan.spec.key)}
    return {
        "window.train": str(windows.train),
        "window.holdout": str(windows.holdout),
        "fitted_until": about["fitted_until"],
    }


def _metrics(evaluation: Mapping[str, Any], task: Task, train: Manifest, parity: ParityReport) -> dict[str, float]:
    champion = (evaluation["champion"] or {}).get("metrics")
    baselines, deciding = evaluation["baselines"], evaluation["metric"]
    guess = DECIDERS[deciding].guess
    judged = {
        **{name: evaluation["challenger"]["metrics"][name] for name in METRICS[task]},
        **({f"champion_{name}": champion[name] for name in METRICS[task]} if champion else {}),
        **{f"{guess}_{name}": baselines["majority"][name] for name in OF_GUESS[task]},
        f"best_single_feature_{deciding}": baselines["best_single_feature"].get(deciding),
    }
    return {
        # None where a metric has no value, such as the AUC of a class that the champion has not met.
        **{name: value for name, value in judged.items() if value is not None},
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

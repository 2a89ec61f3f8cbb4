"""The stage: hand the training window to an engine, build the graph from what it learned, publish."""

from __future__ import annotations

import hashlib
import logging
from typing import Any

from nightshift.model.graph import build_graph
from nightshift.plan import (
    CODE_OF_SPARK,
    LIBRARIES_OF_SPARK,
    Plan,
    canonical_json,
    code_digest,
    digest_of,
    library_versions,
)
from nightshift.stage import StageIO, StageResult, once
from nightshift.storage import Attempt, Manifest
from nightshift.train.engines import Fitted, engine_of
from nightshift.train.window import TrainingWindow
from nightshift.transforms import Transforms

log = logging.getLogger(__name__)


def run(plan: Plan, io: StageIO) -> StageResult:
    """Train on what preprocess published and publish ``booster.ubj``, ``graph.onnx`` and ``model.json``.

    Raises:
        DataError: The training window cannot be learned from.
        SpecError: The engine does not take the spec's parameters, or cannot have as many workers.
        JobError: Spark failed; another try may succeed.
        ModelError: The booster cannot be turned into a graph.
    """
    given = io.given("preprocess")
    also = _spark_too() if plan.spec.training.workers > 1 else {}
    return once(plan, io, "train", {"preprocess": given.ref}, lambda it: _train(plan, io, given, it), also=also)


def _spark_too() -> dict[str, str]:
    """What a result depends on besides, where Spark trains."""
    code, libraries = code_digest(CODE_OF_SPARK), library_versions(LIBRARIES_OF_SPARK)
    return {"spark": digest_of({"code": code, "libraries": libraries})}


def _train(plan: Plan, io: StageIO, given: Manifest, attempt: Attempt) -> dict[str, Any]:
    transforms = Transforms.from_json(io.store.read(given, "transforms.json"))
    training = plan.spec.training
    window = TrainingWindow(
        store=io.store,
        given=given,
        width=len(transforms.feature_names),
        key=plan.spec.key,
        label=plan.spec.label,
        title=f"{plan.model} train {plan.interval.key}",
        root=plan.storage,
        scratch=io.scratch,
    )
    engine = engine_of(training)
    fitted = engine.fit(window, training, threads=plan.threads)
    graph = build_graph(
        transforms,
        fitted.booster,
        task=plan.spec.label.task,
        threshold=fitted.threshold,
        classes=plan.spec.label.classes,
    )
    digest = hashlib.sha256(graph).hexdigest()
    threshold = "" if fitted.threshold is None else f"threshold {fitted.threshold:.4f}, "
    log.info("train: %d trees in %.1f s, %smodel %s", fitted.trees, fitted.seconds, threshold, digest[:12])

    attempt.put("booster.ubj", fitted.data)
    attempt.put("graph.onnx", graph)
    attempt.put("model.json", canonical_json(_model_card(plan, transforms, fitted, digest)))
    return {
        "engine": engine.name,
        "task": plan.spec.label.task,
        "workers": training.workers,
        "trees": fitted.trees,
        "train_rows": window.rows,
        "features": window.width,
        "fitted_until": plan.windows.train.end.isoformat(),
        "threshold": fitted.threshold,
        "model_digest": digest,
        "train_seconds": round(fitted.seconds, 3),
    }


def _model_card(plan: Plan, transforms: Transforms, fitted: Fitted, digest: str) -> dict[str, Any]:
    """What ``model.json`` says: how the model was made and what it takes. Nothing of the clock is in it."""
    training, window = plan.spec.training, plan.windows.train
    gains = {name: 0.0 for name, _ in transforms.request_columns}
    for name, gain in zip(transforms.columns_of_features, fitted.gains.tolist(), strict=True):
        gains[name] += gain
    return {
        "engine": training.engine,
        "engine_version": fitted.engine_version,
        "params": fitted.params,
        "seed": training.seed,
        "threads": plan.threads,
        "workers": training.workers,
        "threshold": fitted.threshold,
        "fitted_until": window.end.isoformat(),
        "train_window": [window.start.isoformat(), window.end.isoformat()],
        "feature_names": list(transforms.feature_names),
        "request": [list(column) for column in transforms.request_columns],
        "label": plan.spec.label.model_dump(mode="json"),
        "graph_sha256": digest,
        "booster_sha256": hashlib.sha256(fitted.data).hexdigest(),
        "importances": gains,
    }

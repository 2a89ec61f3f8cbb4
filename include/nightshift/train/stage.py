"""The stage: hand the training window to an engine, build the graph from what it learned, publish."""

from __future__ import annotations

import hashlib
import logging
from typing import Any

from nightshift.model.graph import build_graph
from nightshift.model.reach import Reach, in_card, reach_of
from nightshift.model.scores import REFERENCE, to_column
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
from nightshift.train.acceptance import require_usable
from nightshift.train.engines import Engine, Fitted, engine_of
from nightshift.train.engines.own import OwnEngine
from nightshift.train.window import TrainingWindow
from nightshift.transforms import Transforms

log = logging.getLogger(__name__)


def run(plan: Plan, io: StageIO) -> StageResult:
    """Train on what preprocess published and publish ``graph.onnx``, ``model.json`` and the library's own files.

    The table ``reference`` has what the library itself says of the rows of probe and holdout.

    Raises:
        DataError: The training window cannot be learned from.
        SpecError: The engine does not take the spec's parameters, cannot have as many workers, or is not here.
        JobError: Spark or a class of one's own failed; another try may succeed.
        ModelError: What was learned cannot be turned into a graph.
    """
    given = io.given("preprocess")
    engine = engine_of(plan.spec.training)
    also = _spark_too() if plan.spec.training.workers > 1 else {}
    if isinstance(engine, OwnEngine):
        engine.require_params(plan.spec.training, plan.spec.label.task)
        also = {**also, "engine": engine.digest()}
    return once(plan, io, "train", {"preprocess": given.ref}, lambda it: _train(plan, io, given, it, engine), also=also)


def _spark_too() -> dict[str, str]:
    """What a result depends on besides, where Spark trains."""
    code, libraries = code_digest(CODE_OF_SPARK), library_versions(LIBRARIES_OF_SPARK)
    return {"spark": digest_of({"code": code, "libraries": libraries})}


def _train(plan: Plan, io: StageIO, given: Manifest, attempt: Attempt, engine: Engine) -> dict[str, Any]:
    import pyarrow as pa

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
    asked = window.asked()
    fitted = engine.fit(window, training, threads=plan.threads, asked=asked)
    fitted = require_usable(fitted, window, training, asked=len(asked))
    graph = build_graph(
        transforms,
        fitted.head,
        task=plan.spec.label.task,
        threshold=fitted.threshold,
        classes=plan.spec.label.classes,
    )
    digest = hashlib.sha256(graph).hexdigest()
    threshold = "" if fitted.threshold is None else f"threshold {fitted.threshold:.4f}, "
    log.info("train: %s in %.1f s, %smodel %s", fitted.size, fitted.seconds, threshold, digest[:12])

    for name, data in fitted.artifacts.items():
        attempt.put(name, data)
    attempt.put("graph.onnx", graph)
    attempt.put_table("reference", pa.table({REFERENCE: to_column(fitted.scores)}))
    reach = reach_of(plan, given.result.get("digested_columns"))
    attempt.put("model.json", canonical_json(_model_card(plan, transforms, fitted, digest, reach)))
    return {
        "engine": training.engine,
        "task": plan.spec.label.task,
        "workers": training.workers,
        "size": fitted.size,
        "train_rows": window.rows,
        "features": window.width,
        **in_card(reach),
        "threshold": fitted.threshold,
        "model_digest": digest,
        "train_seconds": round(fitted.seconds, 3),
    }


def _model_card(plan: Plan, transforms: Transforms, fitted: Fitted, digest: str, reach: Reach) -> dict[str, Any]:
    """What ``model.json`` says: how the model was made and what it takes. Nothing of the clock is in it."""
    training, window = plan.spec.training, plan.windows.train
    return {
        "engine": training.engine,
        "engine_version": fitted.engine_version,
        "params": dict(fitted.params),
        "size": fitted.size,
        "seed": training.seed,
        "threads": plan.threads,
        "workers": training.workers,
        "threshold": fitted.threshold,
        **in_card(reach),
        "train_window": None if plan.spec.split else [window.start.isoformat(), window.end.isoformat()],
        "feature_names": list(transforms.feature_names),
        "request": [list(column) for column in transforms.request_columns],
        "label": plan.spec.label.model_dump(mode="json"),
        "graph_sha256": digest,
        "artifacts": {name: hashlib.sha256(data).hexdigest() for name, data in fitted.artifacts.items()},
        **_importances(transforms, fitted),
    }


def _importances(transforms: Transforms, fitted: Fitted) -> dict[str, Any]:
    """By request column, where the engine has any: the sum over the places of the vector that come from it."""
    if fitted.importances is None:
        return {}
    sums = {name: 0.0 for name, _ in transforms.request_columns}
    for name, importance in zip(transforms.columns_of_features, fitted.importances.tolist(), strict=True):
        sums[name] += importance
    return {"importances": sums}

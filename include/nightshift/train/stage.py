"""The stage: read the training window's vectors, fit, choose the threshold, build the graph, publish."""

from __future__ import annotations

import hashlib
import logging
import time
from typing import TYPE_CHECKING, Any

from nightshift.errors import DataError
from nightshift.model.booster import feature_matrix
from nightshift.model.graph import build_graph
from nightshift.plan import Plan, canonical_json
from nightshift.stage import StageIO, StageResult, once
from nightshift.storage import Attempt, Manifest
from nightshift.train.engines import Fitted, engine_of
from nightshift.train.threshold import as_float32, max_f1
from nightshift.transforms import Transforms

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

log = logging.getLogger(__name__)


def run(plan: Plan, io: StageIO) -> StageResult:
    """Train on what preprocess published and publish ``booster.ubj``, ``graph.onnx`` and ``model.json``.

    Raises:
        DataError: The training window cannot be learned from.
        SpecError: The engine does not take the spec's parameters.
        ModelError: The booster cannot be turned into a graph.
    """
    given = io.given("preprocess")
    return once(plan, io, "train", {"preprocess": given.ref}, lambda attempt: _train(plan, io, given, attempt))


def _train(plan: Plan, io: StageIO, given: Manifest, attempt: Attempt) -> dict[str, Any]:
    transforms = Transforms.from_json(io.store.read(given, "transforms.json"))
    features, labels = _training_window(io, given, len(transforms.feature_names))
    training = plan.spec.training
    engine = engine_of(training)
    log.info(
        "train: %s on %d rows x %d features, %d positive, %d threads",
        engine.name, len(labels), features.shape[1], int(labels.sum()), plan.threads,
    )  # fmt: skip

    began = time.monotonic()
    fitted = engine.fit(features, labels, training, threads=plan.threads)
    seconds = time.monotonic() - began
    chosen = training.threshold
    threshold = max_f1(labels, fitted.probabilities) if chosen == "max_f1" else as_float32(chosen)
    graph = build_graph(transforms, fitted.booster, threshold=threshold)
    digest = hashlib.sha256(graph).hexdigest()
    log.info("train: %d trees in %.1f s, threshold %.4f, model %s", fitted.trees, seconds, threshold, digest[:12])

    attempt.put("booster.ubj", fitted.data)
    attempt.put("graph.onnx", graph)
    attempt.put("model.json", canonical_json(_model_card(plan, transforms, fitted, threshold, digest)))
    return {
        "engine": engine.name,
        "trees": fitted.trees,
        "train_rows": len(labels),
        "features": features.shape[1],
        "fitted_until": plan.windows.train.end.isoformat(),
        "threshold": threshold,
        "model_digest": digest,
        "train_seconds": round(seconds, 3),
    }


def _training_window(io: StageIO, given: Manifest, width: int) -> tuple[Array, Array]:
    """The vectors, ``[N, F]`` float32, and labels, ``[N]`` int8, in the order that preprocess stored."""
    import numpy as np

    table = io.store.read_table(given, "train", columns=["__features", "__label"])
    column = table.column("__label")
    if column.null_count:
        raise DataError(f"{column.null_count} rows of the training window are unlabelled; preprocess leaves them out.")
    labels = column.to_numpy().astype(np.int8, copy=False)
    classes = np.unique(labels).tolist()
    if classes != [0, 1]:
        found = {(): "has no rows", (0,): "has negatives only", (1,): "has positives only"}
        raise DataError(
            f"the training window {found.get(tuple(classes), f'has the labels {classes}')}; "
            "a model needs positives and negatives.",
            hint="check label.positive in the spec, and that the window's days have data",
        )
    return feature_matrix(table.column("__features"), width), labels


def _model_card(plan: Plan, transforms: Transforms, fitted: Fitted, threshold: float, digest: str) -> dict[str, Any]:
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
        "threshold": threshold,
        "fitted_until": window.end.isoformat(),
        "train_window": [window.start.isoformat(), window.end.isoformat()],
        "feature_names": list(transforms.feature_names),
        "request": [list(column) for column in transforms.request_columns],
        "label": plan.spec.label.model_dump(mode="json"),
        "graph_sha256": digest,
        "booster_sha256": hashlib.sha256(fitted.data).hexdigest(),
        "importances": gains,
    }

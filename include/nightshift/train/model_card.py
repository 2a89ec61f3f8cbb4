"""``model.json``: how a model was made and what it takes."""

from __future__ import annotations

import hashlib
from typing import Any

from nightshift.model.reach import Reach, in_card
from nightshift.plan import Plan
from nightshift.spec.models import Training
from nightshift.train.engines import Fitted
from nightshift.transforms import Transforms


def model_card(
    plan: Plan, training: Training, transforms: Transforms, fitted: Fitted, *, graph: str, reach: Reach
) -> dict[str, Any]:
    """What it says; nothing of the clock is in it.

    Args:
        plan: The night.
        training: The spec's section, with what a search chose.
        transforms: Of the window.
        fitted: What the engine gave.
        graph: Digest of ``graph.onnx``.
        reach: Which rows the model has seen.
    """
    window = plan.windows.train
    return {
        "engine": training.engine,
        "engine_version": fitted.engine_version,
        "params": dict(fitted.params),
        "size": fitted.size,
        "seed": training.seed,
        "threads": plan.threads,
        "workers": training.worker_count,
        "threshold": fitted.threshold,
        **in_card(reach),
        "train_window": None if plan.spec.split else [window.start.isoformat(), window.end.isoformat()],
        "feature_names": list(transforms.feature_names),
        "request": [list(column) for column in transforms.request_columns],
        "label": plan.spec.label.model_dump(mode="json"),
        "graph_sha256": graph,
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

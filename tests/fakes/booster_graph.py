"""A graph from a bare booster, as stage train makes it."""

from __future__ import annotations

from collections.abc import Sequence

import xgboost

from nightshift.model.graph import build_graph
from nightshift.model.heads.booster import BoosterHead
from nightshift.spec.values import Task
from nightshift.transforms import Transforms


def booster_graph(
    transforms: Transforms,
    booster: xgboost.Booster,
    *,
    task: Task = "binary",
    threshold: float | None = None,
    classes: Sequence[str] = (),
) -> bytes:
    """Arguments as for ``build_graph``."""
    head = BoosterHead(booster, task, len(transforms.feature_names), len(classes))
    return build_graph(transforms, head, task=task, threshold=threshold, classes=classes)

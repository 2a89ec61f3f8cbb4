"""Which stages of a model have work for Spark."""

from __future__ import annotations

from nightshift.spec.models import ModelSpec


def uses_spark(stage: str, spec: ModelSpec) -> bool:
    """Whether a stage has work for Spark; the others are processes of one machine, wherever Spark is."""
    return stage == "preprocess" or (stage == "train" and spec.training.workers > 1)

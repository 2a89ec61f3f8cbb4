"""Which stages of a model have work for Spark."""

from __future__ import annotations

from nightshift.spec.models import ModelSpec, Training
from nightshift.spec.search_rules import families


def uses_spark(stage: str, spec: ModelSpec) -> bool:
    """Whether a stage has work for Spark; the others are processes of one machine, wherever Spark is."""
    if stage != "train":
        return stage == "preprocess"
    # Several trials at once run on the slots of a cluster, where there is one.
    parallel = 1 if spec.training.search is None else spec.training.search.parallel
    return parallel > 1 or any_trains_on_spark(spec.training)


def trains_on_spark(training: Training) -> bool:
    """Whether one training is tasks of a Spark application."""
    return training.workers > 1


def any_trains_on_spark(training: Training) -> bool:
    """Whether the training is, or a trial of its search."""
    if training.search is None:
        return trains_on_spark(training)
    return any(trains_on_spark(training.model_copy(update={"engine": one.engine})) for one in families(training))

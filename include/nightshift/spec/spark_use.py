"""With which engines a model may be trained, which of its stages have work for Spark, and on how many cores."""

from __future__ import annotations

from nightshift.settings import ComputeName
from nightshift.spec.models import ModelSpec, Training
from nightshift.spec.search_rules import families


def uses_spark(stage: str, spec: ModelSpec) -> bool:
    """Whether a stage has work for Spark; the others are processes of one machine, wherever Spark is.

    With ``workers: auto`` training may have: only the window says so, and no window is known yet.
    """
    if stage != "train":
        return stage == "preprocess"
    # Several trials at once run on the slots of a cluster, where there is one.
    parallel = 1 if spec.training.search is None else spec.training.search.parallel
    return parallel > 1 or any_trains_on_spark(spec.training)


def trains_on_spark(training: Training) -> bool:
    """Whether one training is tasks of a Spark application; with ``workers: auto``, whether it may be."""
    return training.engine == "spark_ml" or training.workers != 1


def any_trains_on_spark(training: Training) -> bool:
    """Whether the training is, or a trial of its search."""
    if training.search is None:
        return trains_on_spark(training)
    return any(trains_on_spark(training.model_copy(update={"engine": one.engine})) for one in families(training))


def engines_of(training: Training) -> set[str]:
    """Every engine that a night may train with: the section's own, and those of its search."""
    return {training.engine} | ({one.engine for one in training.search.engines} if training.search else set())


def most_workers(spec: ModelSpec, target: ComputeName, *, cores: int | None) -> int | None:
    """The number of workers, or the one that ``auto`` takes where it takes more than one.

    On EMR that is as many as there are core nodes: an executor has the memory of one. YARN may put it elsewhere.

    Args:
        spec: The model's spec.
        target: Where the job runs.
        cores: The most that a job may have on a standalone cluster; None where nothing says.

    Returns:
        None where nobody can tell before the cluster is asked.
    """
    if spec.training.workers != "auto":
        return spec.training.workers
    match target:
        case "local":
            return 1  # Spark on one machine has no other cores than native training has
        case "standalone":
            return cores
        case "emr":
            return spec.compute.emr.core_units

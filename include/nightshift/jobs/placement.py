"""Which jobs go to a Spark cluster."""

from __future__ import annotations

import re

from nightshift.settings import Settings
from nightshift.spec.models import ModelSpec
from nightshift.spec.spark_use import uses_spark

# What the session says when a cluster has taken it.
APPLICATION = re.compile(r"\d\d:\d\d:\d\d INFO [a-z]+: Spark application (app-[\w-]+) on spark://")


def goes_to_cluster(stage: str, spec: ModelSpec, settings: Settings) -> bool:
    """Whether a stage is to be submitted to the cluster.

    Raises:
        SettingsError: It is, and nothing says where the cluster is.
    """
    return settings.compute_of(spec.compute.target) == "standalone" and uses_spark(stage, spec)


def application_in(line: str) -> str | None:
    """The id of the Spark application, in the line of a job's output that tells it."""
    found = APPLICATION.match(line)
    return found[1] if found else None

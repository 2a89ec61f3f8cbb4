"""What the section ``training`` may say of workers, by itself and where it meets the section ``compute``."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from nightshift.spec.compute import CORES_OF_A_UNIT
from nightshift.spec.problem import Problem

if TYPE_CHECKING:
    from nightshift.spec.models import ModelSpec

MOST_WORKERS = 64
MEASURED_ENGINES = ("xgboost",)
"""Engines of which it is known from what size on several workers are faster: ``train/crossover.json``."""


def workers(value: Any) -> Iterator[Problem]:
    """How many processes learn together."""
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_WORKERS):
        return
    hint = "1 trains inside the job, without Spark; a larger number takes as many of Spark's cores; auto goes by size"
    if isinstance(value, str) and value.strip().isdecimal() and 1 <= int(value) <= MOST_WORKERS:
        hint = f"write {int(value)} without quotes"
    yield Problem(
        f"{value!r} is not a number of workers.",
        allowed=f"a whole number from 1 to {MOST_WORKERS}, or auto",
        hint=hint,
    )


def threshold(value: Any) -> Iterator[Problem]:
    """The graph compares a probability with the float32 that is nearest to a threshold."""
    if not isinstance(value, float):
        return
    [nearest] = struct.unpack("f", struct.pack("f", value))
    if not 0 < nearest < 1:
        yield Problem(
            f"as a float32, which the graph compares with, {value:.10g} is {nearest:g}.",
            allowed="a number that is above 0 and below 1 as a float32 too, such as 1e-6 or 0.999999",
        )


def auto_is_measured(engine: str, number: int | str) -> Iterator[Problem]:
    """The size that ``auto`` goes by must be known."""
    if number == "auto" and engine not in MEASURED_ENGINES:
        yield Problem(
            f"nobody has measured from what size on several workers are faster for {engine}.",
            ("workers",),
            allowed=f"auto for {', '.join(MEASURED_ENGINES)}, else a whole number from 1 to {MOST_WORKERS}",
        )


def emr_has_cores(spec: ModelSpec) -> Iterator[Problem]:
    if spec.compute.target == "emr":
        yield from more_than_emr_has(spec)


def more_than_emr_has(spec: ModelSpec) -> Iterator[Problem]:
    """Workers without a core, however far the cluster grows."""
    cores = spec.compute.emr.max_units * CORES_OF_A_UNIT
    if spec.training.workers != "auto" and spec.training.workers > cores:
        yield Problem(
            f"{spec.training.workers} workers take a core each, and the cluster has {cores} at most.",
            ("training", "workers"),
            allowed=f"up to {cores}: {CORES_OF_A_UNIT} for each of compute.emr.max_units",
            hint="lower training.workers, or raise compute.emr.max_units",
        )


BETWEEN_SECTIONS = ((emr_has_cores, {"compute", "training"}),)

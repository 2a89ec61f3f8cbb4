"""Engines whose package is an extra: whether it is there, where jobs run. Nothing is imported to find out."""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from nightshift.errors import EngineNotInstalled
from nightshift.settings import Settings
from nightshift.spec.models import ModelSpec
from nightshift.spec.spark_use import engines_of

EXTRAS = {"torch": "torch"}
"""By engine, the package that the extra of the same name brings."""
# Of the extra `job`: an environment without it is one in which no job can run, so its jobs run elsewhere.
OF_JOBS = "onnx"
FIX = "make torch installs it; docs/training.md says how to take PyTorch's build for processors only"


def missing_engine(spec: ModelSpec) -> EngineNotInstalled | None:
    """What to say where the interpreter of jobs is known to lack the package of the spec's engine.

    The spec is good all the same: its DAG exists and says so, what it shipped serves, and its nights end at
    their first stage. Nothing is said where that cannot be known: on a scheduler without the packages of jobs,
    and for a cluster that brings its own (compute.target emr), whose preflight looks.
    """
    wanted = sorted(engines_of(spec.training) & EXTRAS.keys())
    if not wanted:
        return None
    settings = Settings.from_environment()
    lacking = [engine for engine in wanted if _lacks(settings.python, EXTRAS[engine])]
    if (spec.compute.target or settings.compute) == "emr" or not lacking:
        return None
    key = "engine" if lacking[0] == spec.training.engine else "search"
    return EngineNotInstalled(
        f"{spec.model} cannot be trained here: training.{key}: the engine {lacking[0]} needs the package "
        f"{EXTRAS[lacking[0]]}, which {settings.python} does not have.",
        hint=FIX,
    )


def require_engine(spec: ModelSpec) -> None:
    """Demand the package of the spec's engine from this interpreter.

    Raises:
        EngineNotInstalled: It is not installed.
    """
    for engine in sorted(engines_of(spec.training) & EXTRAS.keys()):
        if find_spec(EXTRAS[engine]) is None:
            raise EngineNotInstalled(
                f"{spec.model}: the engine {engine} needs the package {EXTRAS[engine]}, which is not installed "
                f"where this job runs ({sys.executable}).",
                hint=FIX,
            )


def _lacks(python: str, package: str) -> bool:
    """Whether an interpreter has the packages of jobs, and not this one."""
    if Path(python).absolute() == Path(sys.executable).absolute():
        return find_spec(OF_JOBS) is not None and find_spec(package) is None
    sites = list(Path(shutil.which(python) or python).parent.parent.glob("lib/python3*/site-packages"))
    return any((site / OF_JOBS).is_dir() for site in sites) and not any((site / package).is_dir() for site in sites)

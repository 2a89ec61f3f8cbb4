"""A small trained night whose label is a number, or one of three classes; without Spark, by the real train stage."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from tests.fakes.trained_night import FIRST, Change, Night, small_plan, small_spec, trained_night

from nightshift.spec.models import ModelSpec

CLASSES = ("early", "planned", "late")
LEAST = {"days": 2, "rows": 400}


def asked_spec(task: str, **gates: Any) -> ModelSpec:
    """The small spec with another question; ``gates`` are changes of its section."""
    label: dict[str, Any] = {"column": "days_late", "task": task, "delay": "1d"}
    if task == "regression":
        own: dict[str, Any] = {"metric": "rmse", "maximum": 40, "versus_champion": {"margin": 3.0, "least": LEAST}}
    else:
        label["classes"] = list(CLASSES)
        versus = {"margin": 0.1, "log_loss_margin": 0.2, "calibration_margin": 0.2}
        own = {
            "metric": "accuracy",
            "minimum": 0.6,
            "versus_champion": {**versus, "least": {**LEAST, "of_each_class": 30}},
        }
    return small_spec(label=label, gates={"slices": ["lane"], **own, **gates})


def answers(task: str, *, shuffled: bool = False) -> Change:
    """Gives rows the label that they would have."""

    def change(columns: dict[str, Any]) -> dict[str, Any]:
        random = np.random.default_rng(len(columns["weight"]))
        weight = np.array([value or 0.0 for value in columns["weight"]])
        score = 2.5 * weight + np.array([lane == "sea" for lane in columns["lane"]]) + random.normal(size=len(weight))
        labels = 10 * score + 100 if task == "regression" else np.where(score < -1.5, 0, np.where(score < 1.5, 1, 2))
        return {**columns, "__label": (random.permutation(labels) if shuffled else labels).tolist()}

    return change


def asked_night(root: Path, task: str, night: date = FIRST, *, shuffled: bool = False, **gates: Any) -> Night:
    """A night after train; ``shuffled`` gives the training window labels of other rows."""
    return trained_night(
        root,
        plan=small_plan(root, night, spec=asked_spec(task, **gates)),
        holdout=answers(task),
        training=answers(task, shuffled=shuffled),
    )

"""What every engine's answer must be before anything is made of it: one place, for Nightshift's engines and others'."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from nightshift.errors import ModelError
from nightshift.spec.models import Training
from nightshift.spec.values import Task
from nightshift.train.engines import Fitted
from nightshift.train.threshold import as_float32
from nightshift.train.window import TrainingWindow

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

# Probabilities of the classes of a row may add up to 1 within this; and each may be this far beyond 0 and 1.
SUM_TOLERANCE = 1e-3
LAST_BITS = 1e-6
OURS = ("graph.onnx", "model.json", "reference")


def require_usable(fitted: Fitted, window: TrainingWindow, training: Training, *, asked: int) -> Fitted:
    """The same object, its scores as float32, if a graph, a version and a report can be made of it.

    Args:
        fitted: What the engine gave back.
        window: What it was given.
        training: What the spec asked for.
        asked: How many vectors it was asked about.

    Raises:
        ModelError: It says everything that is wrong with it.
    """
    if not isinstance(fitted, Fitted):
        raise ModelError(
            f"{training.engine} gave a {type(fitted).__name__}; fit gives back a Fitted.",
            hint="from nightshift.train.engines import Fitted",
        )
    classes = len(window.label.classes)
    problems = [
        *_of_scores(fitted.scores, window.label.task, asked, classes),
        *_of_threshold(fitted.threshold, window.label.task, training.threshold),
        *_of_importances(fitted.importances, window.width),
        *_of_the_rest(fitted),
    ]
    if problems:
        raise ModelError(f"{training.engine} gave a model that cannot be used: {'; '.join(problems)}.")
    return fitted


def _of_scores(scores: Array, task: Task, asked: int, classes: int) -> Iterator[str]:
    import numpy as np

    wanted = (asked, classes) if task == "multiclass" else (asked,)
    if not isinstance(scores, np.ndarray) or scores.dtype.kind != "f":
        kind = scores.dtype.name if isinstance(scores, np.ndarray) else type(scores).__name__
        yield f"scores must be an array of float32, not {kind}"
        return
    if scores.shape != wanted:
        yield f"scores have the shape {list(scores.shape)}, and {list(wanted)} was asked for" + (
            " (the probability of the positive class only)" if task == "binary" and scores.ndim == 2 else ""
        )
        return
    with np.errstate(over="ignore"):
        unusable = ~np.isfinite(scores.astype(np.float32)).reshape(asked, -1).all(axis=1)
    if unusable.any():
        yield f"{unusable.sum()} of {asked} scores are no finite float32 numbers, the first in row {unusable.argmax()}"
    elif task != "regression" and asked:
        if scores.min() < -LAST_BITS or scores.max() > 1 + LAST_BITS:
            yield f"scores go from {scores.min():g} to {scores.max():g}, and probabilities from 0 to 1"
        elif task == "multiclass" and np.abs(scores.sum(axis=1, dtype=np.float64) - 1).max() > SUM_TOLERANCE:
            sums = scores.sum(axis=1, dtype=np.float64)
            yield f"the probabilities of a row add up to {sums[np.abs(sums - 1).argmax()]:g}, not to 1"


def _of_threshold(threshold: float | None, task: Task, asked: float | str | None) -> Iterator[str]:
    if task != "binary":
        if threshold is not None:
            yield f"the task is {task}, and there is a threshold of {threshold}"
    elif not isinstance(threshold, float) or not 0 < threshold <= 1:
        yield f"the threshold must be a number above 0 and at most 1, not {threshold!r} (see threshold_of)"
    elif isinstance(asked, float) and threshold != as_float32(asked):
        yield f"the threshold is {threshold:g}, and training.threshold is {asked:g} (see threshold_of)"


def _of_importances(importances: Array | None, width: int) -> Iterator[str]:
    import numpy as np

    if importances is None:
        return
    if not isinstance(importances, np.ndarray) or importances.dtype.kind not in "fiu" or importances.shape != (width,):
        shape = list(importances.shape) if isinstance(importances, np.ndarray) else type(importances).__name__
        yield f"importances must be {width} numbers, one for each feature, and not {shape}"
    elif not np.isfinite(importances).all():
        yield f"importances must be finite; number {int((~np.isfinite(importances)).argmax())} is not"


def _of_the_rest(fitted: Fitted) -> Iterator[str]:
    if not callable(getattr(fitted.head, "onnx_nodes", None)):
        yield f"the head must have onnx_nodes, and a {type(fitted.head).__name__} has none (see OnnxModelHead)"
    for name, data in fitted.artifacts.items():
        if not _is_file_name(name) or not isinstance(data, bytes):
            yield f"artifacts must be bytes by file name; {name!r} ({type(data).__name__}) is not, or its name is taken"
    wrong = _not_scalar(fitted.params)
    if wrong:
        yield f"params must be numbers, texts or booleans by name; {wrong} is not"
    for what in ("engine_version", "size"):
        text = getattr(fitted, what)
        if not isinstance(text, str) or not text.strip():
            yield f"{what} must be a text, not {text!r}"
    if not isinstance(fitted.seconds, int | float) or not 0 <= fitted.seconds < math.inf:
        yield f"seconds must be how long the training took, not {fitted.seconds!r}"


def _is_file_name(name: object) -> bool:
    return isinstance(name, str) and name not in (*OURS, "", ".", "..") and not set(name) & set("/\\\0")


def _not_scalar(params: Mapping[str, Any]) -> str | None:
    for name, value in params.items():
        scalar = isinstance(value, int | float | str | bool) and type(value).__module__ == "builtins"
        if not isinstance(name, str) or not scalar or (isinstance(value, float) and not math.isfinite(value)):
            return f"{name}: {value!r}"[:100]
    return None

"""What the task of a label (binary, multiclass, regression) demands of the label and of the other sections."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from nightshift.spec import engines
from nightshift.spec.problem import Problem

if TYPE_CHECKING:
    from nightshift.spec.models import Label, ModelSpec
    from nightshift.spec.values import Task

FEWEST_CLASSES, MOST_CLASSES = 3, 100
OUTPUTS: dict[Task, tuple[str, ...]] = {
    "binary": ("probability", "label"),
    "multiclass": ("label", "probabilities"),
    "regression": ("prediction",),
}
"""What a model of each task gives for a row, in the order of the graph's outputs."""


def label_kind(label: Label) -> Iterator[Problem]:
    """What each task says about the label, and what it must not say."""
    if label.task == "binary":
        yield from _positive_class(label)
    elif label.positive is not None:
        what = "learns a number" if label.task == "regression" else "learns which of label.classes it is"
        yield Problem(
            f"{label.task} has no positive class: it {what}.",
            ("positive",),
            hint="drop the key, or write task: binary",
            is_key=True,
        )
    if label.task == "multiclass":
        yield from _classes(label)
    elif label.classes:
        yield Problem(
            f"classes are for multiclass, and the task is {label.task}.",
            ("classes",),
            hint="drop the key, or write task: multiclass",
            is_key=True,
        )


def _classes(label: Label) -> Iterator[Problem]:
    if len(label.classes) < FEWEST_CLASSES:
        listed = f"only {len(label.classes)} of them" if label.classes else "none"
        yield Problem(
            f"multiclass needs the classes, and there are {listed}.",
            ("classes",) if label.classes else ("task",),
            allowed=f"{FEWEST_CLASSES} to {MOST_CLASSES} values of {label.column}, such as classes: [EWR, JFK, LGA]",
            hint="with two values, write task: binary and positive" if len(label.classes) == 2 else None,
        )
    for number, name in enumerate(label.classes):
        if name in label.classes[:number]:
            yield Problem(f"{name} is listed twice.", ("classes", number))


def _positive_class(label: Label) -> Iterator[Problem]:
    if label.positive is None:
        yield Problem(
            "binary needs the positive class, and positive is not given.",
            hint='add positive, such as ">= 15" or "== yes"; or write task: multiclass, or task: regression',
        )
        return
    match = re.fullmatch(r"\s*(>=|<=|>|<)\s*(.*?)\s*", label.positive)
    if match and not _is_number(match[2]):
        yield Problem(
            f"{match[1]} compares numbers, and {match[2]!r} is none.",
            ("positive",),
            allowed='">= 15", or "== yes" for text',
        )


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?", text) is not None


# -- rules between sections: each says which top-level keys it reads --------------------------------------


def outputs_are_no_features(spec: ModelSpec) -> Iterator[Problem]:
    for kind, names in (("numeric", spec.features.numeric), ("categorical", spec.features.categorical)):
        for number, name in enumerate(names):
            if name in OUTPUTS[spec.label.task]:
                yield Problem(
                    f"{name} is the name of an output of every {spec.label.task} model.",
                    ("features", kind, number),
                    hint="give the column another name in the prepare SQL",
                )


def threshold_is_binary(spec: ModelSpec) -> Iterator[Problem]:
    if spec.training.threshold is not None and spec.label.task != "binary":
        yield Problem(
            f"a threshold is for binary labels, and the task is {spec.label.task}.",
            ("training", "threshold"),
            hint="drop the key" + ("; the most probable class is the label" if spec.label.task == "multiclass" else ""),
            is_key=True,
        )


def params_suit_task(spec: ModelSpec) -> Iterator[Problem]:
    yield from engines.rules_of(spec.training.engine).problems_of_task(spec.training.params, spec.label.task)


BETWEEN_SECTIONS = (
    (outputs_are_no_features, {"label", "features"}),
    (threshold_is_binary, {"label", "training"}),
    (params_suit_task, {"label", "training"}),
)

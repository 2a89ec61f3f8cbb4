"""The task of a label, and what it demands of the rest of the spec: what is wrong, where, and what to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from nightshift.errors import SpecError
from nightshift.spec.loader import load_spec

SPEC = """\
version: 1
model: orders
owner: orders@example.com
source: {kind: files, uri: "data/%Y-%m-%d.csv", time: ordered_at}
key: [order_id]
prepare: orders.sql
LABEL
features:
  numeric: [price, distance]
window: {train: 30d, holdout: 14d}
training:
  engine: xgboostTRAINING
GATES
"""
SQL = "SELECT order_id, ordered_at, outcome, price, distance, prediction, probabilities FROM source\n"
BINARY = 'label: {column: outcome, positive: "== yes"}'
SEVERAL = "label: {column: outcome, task: multiclass, classes: [a, b, c]}"
NUMBER = "label: {column: outcome, task: regression}"
GATES = {
    BINARY: "gates: {minimum: 0.6}",
    SEVERAL: "gates: {metric: accuracy, minimum: 0.6}",
    NUMBER: "gates: {metric: rmse, maximum: 9, versus_champion: {margin: 0.1}}",
}


def load(
    tmp_path: Path, label: str, *, training: str = "", gates: str | None = None, features: str = "price"
) -> object:
    known = gates or next((text for key, text in GATES.items() if f"task: {_task(key)}" in label), GATES[BINARY])
    text = SPEC.replace("LABEL", label).replace("TRAINING", training).replace("GATES", known)
    path = tmp_path / "orders.yaml"
    path.write_text(text.replace("[price, distance]", f"[{features}, distance]"))
    (tmp_path / "orders.sql").write_text(SQL)
    return load_spec(path)


def _task(label: str) -> str:
    return label.partition("task: ")[2].partition(",")[0].rstrip("}") or "binary"


def refused(tmp_path: Path, label: str, **changes: str) -> str:
    with pytest.raises(SpecError) as caught:
        load(tmp_path, label, **changes)  # type: ignore[arg-type]
    return " ".join(f"{caught.value.message} Hint: {caught.value.hint}".split())


@pytest.mark.parametrize("label", [BINARY, SEVERAL, NUMBER])
def test_every_task_loads(tmp_path: Path, label: str) -> None:
    assert load(tmp_path, label).label.task == _task(label)  # type: ignore[attr-defined]


def test_classes_are_texts_whatever_they_are_written_as(tmp_path: Path) -> None:
    spec = load(tmp_path, "label: {column: outcome, task: multiclass, classes: [0, 1, two]}")
    assert spec.label.classes == ("0", "1", "two")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("label: {column: outcome}", "orders.yaml:7: label: binary needs the positive class, and positive is not given."),
        ("label: {column: outcome, task: multi}", "label.task: 'multi' is not allowed. Allowed: binary, multiclass, regression"),
        ('label: {column: outcome, task: regression, positive: ">= 1"}', "label.positive: regression has no positive class: it learns a number. Hint: drop the key, or write task: binary"),
        ('label: {column: outcome, task: multiclass, classes: [a, b, c], positive: "== a"}', "label.positive: multiclass has no positive class"),
        ('label: {column: outcome, positive: "== a", classes: [a, b, c]}', "label.classes: classes are for multiclass, and the task is binary. Hint: drop the key, or write task: multiclass"),
        ("label: {column: outcome, task: regression, classes: [a, b, c]}", "label.classes: classes are for multiclass, and the task is regression"),
        ("label: {column: outcome, task: multiclass}", "label.task: multiclass needs the classes, and there are none. Allowed: 3 to 100 values of outcome"),
        ("label: {column: outcome, task: multiclass, classes: [a, b]}", "label.classes: multiclass needs the classes, and there are only 2 of them."),
        ("label: {column: outcome, task: multiclass, classes: [a, b]}", "Hint: with two values, write task: binary and positive"),
        ("label: {column: outcome, task: multiclass, classes: [a, b, a, 1]}", "label.classes[2]: a is listed twice"),
        ("label: {column: outcome, task: multiclass, classes: [1, 2, '1']}", "label.classes[2]: 1 is listed twice"),
        ("label: {column: outcome, task: multiclass, classes: [a, b, '']}", "label.classes[2]: '' is not allowed"),
        ("label: {column: outcome, task: multiclass, classes: [a, b, 1.5]}", "label.classes[2]: 1.5 is not allowed"),
    ],
)  # fmt: skip
def test_a_label_that_does_not_fit_its_task(tmp_path: Path, label: str, said: str) -> None:
    assert said in refused(tmp_path, label)


@pytest.mark.parametrize(
    ("label", "training", "said"),
    [
        (NUMBER, "\n  threshold: 0.5", "orders.yaml:13: training.threshold: a threshold is for binary labels, and the task is regression. Hint: drop the key"),
        (SEVERAL, "\n  threshold: max_f1", "the task is multiclass. Hint: drop the key; the most probable class is the label"),
        (NUMBER, '\n  params: {objective: "binary:logistic"}', "training.params.objective: binary:logistic learns binary, and the task is regression. Allowed: reg:squarederror, reg:absoluteerror, reg:pseudohubererror"),
        (BINARY, '\n  params: {objective: "reg:squarederror"}', "reg:squarederror learns regression, and the task is binary. Allowed: binary:logistic"),
        (BINARY, "\n  params: {objective: linear}", "training.params.objective: 'linear' is not one of"),
        (NUMBER, "\n  params: {scale_pos_weight: 2}", "training.params.scale_pos_weight: scale_pos_weight does nothing for regression. Hint: drop it"),
        (SEVERAL, "\n  params: {base_score: 0.5}", "training.params.base_score: base_score does nothing for multiclass"),
        (BINARY, "\n  params: {base_score: 1}", "training.params.base_score: 1 is not a number at least 1e-06 and"),
        (SEVERAL, "\n  params: {num_class: 3}", "it is the number of label.classes"),
    ],
)  # fmt: skip
def test_training_that_does_not_fit_the_task(tmp_path: Path, label: str, training: str, said: str) -> None:
    assert said in refused(tmp_path, label, training=training)


@pytest.mark.parametrize(
    ("label", "training"),
    [
        (NUMBER, '\n  params: {objective: "reg:absoluteerror", base_score: 120}'),
        (NUMBER, '\n  params: {objective: "reg:pseudohubererror"}'),
        (SEVERAL, '\n  params: {objective: "multi:softprob"}'),
        (BINARY, '\n  threshold: 0.4\n  params: {objective: "binary:logistic", base_score: 0.2, scale_pos_weight: 3}'),
    ],
)
def test_training_that_fits_the_task(tmp_path: Path, label: str, training: str) -> None:
    load(tmp_path, label, training=training)


def test_outputs_of_the_task_are_no_features(tmp_path: Path) -> None:
    assert "features.numeric[0]: prediction is the name of an output of every regression model" in refused(
        tmp_path, NUMBER, features="prediction"
    )
    assert "features.numeric[0]: probabilities is the name of an output of every multiclass model" in refused(
        tmp_path, SEVERAL, features="probabilities"
    )
    load(tmp_path, BINARY, features="prediction")

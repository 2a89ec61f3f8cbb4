"""What is particular to one kind of label when a model is judged; one implementation per file."""

from __future__ import annotations

from nightshift.evaluate.task import Drawings, Fallback, Judged, Task
from nightshift.evaluate.tasks.binary import Binary
from nightshift.evaluate.tasks.multiclass import Multiclass
from nightshift.evaluate.tasks.regression import Regression
from nightshift.spec.models import Label

__all__ = ["Binary", "Drawings", "Fallback", "Judged", "Multiclass", "Regression", "Task", "task_of"]


def task_of(label: Label) -> Task:
    """How models of a label are judged."""
    if label.task == "multiclass":
        return Multiclass(label.classes)
    return Binary() if label.task == "binary" else Regression()

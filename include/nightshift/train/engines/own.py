"""A user's own engine: the class that a spec names, ``package.module:Class``, and what is said when it is not right."""

from __future__ import annotations

import importlib
import inspect
import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from nightshift.errors import JobError, NightshiftError, SpecError
from nightshift.model.heads import Head
from nightshift.plan import digest_of
from nightshift.spec.engines import is_own
from nightshift.spec.models import Training
from nightshift.spec.problem import Problem, did_you_mean, in_words
from nightshift.spec.values import Task
from nightshift.train.engines import Engine, Fitted
from nightshift.train.own_code import code_of, location
from nightshift.train.window import TrainingWindow
from nightshift.transforms import OnnxGraph

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

log = logging.getLogger(__name__)

SHOWN = 300  # letters of somebody's message: converters print whole models
FIT = "it is def fit(self, window, training, *, threads, asked): see Engine in nightshift.train.engines"
WHERE = "docs/engines.md says where a class may be, for each compute target"


class OwnEngine:
    """A class of one's own behind the same Protocol.

    Attributes:
        name: As the spec names it.
        made: An instance of the class.
    """

    def __init__(self, name: str, made: Engine) -> None:
        self.name = name
        self.made = made

    @classmethod
    def of(cls, named: str) -> OwnEngine:
        """Import the class and make one.

        Args:
            named: ``package.module:Class``.

        Raises:
            SpecError: There is no such module or class here, or it is none that can train.
        """
        path, _, name = named.partition(":")
        found: Any = getattr(_imported(named, path), name, None)
        if not inspect.isclass(found):
            raise SpecError(
                f"training.engine: {path} has no class {name}.",
                hint=did_you_mean(name, _classes_in(path)) or f"define the class in {path}, or name another",
            )
        try:
            made: Any = found()
        except Exception as error:
            log.exception("train: %s cannot be made", named)
            raise SpecError(
                f"training.engine: {named} cannot be made without arguments: {told(error, path)}.",
                hint="a spec's parameters are in training.params, which fit is given",
            ) from error
        _require_fit(named, getattr(made, "fit", None))
        return cls(named, made)

    def digest(self) -> str:
        """Of everything that its results depend on besides the inputs; see ``own_code``."""
        return digest_of(code_of(self.name.partition(":")[0]))

    def require_params(self, training: Training, task: Task) -> None:
        """Hold the spec's parameters against the rules that the class has, if it has any: ``parameters``.

        Raises:
            SpecError: It says what is wrong with them.
        """
        rules = getattr(self.made, "parameters", None)
        if rules is None:
            return
        with _answering(self.name, "checking its parameters"):
            problems = [
                *_below_training(rules.problems(training.params)),
                *rules.problems_of_task(training.params, task),
            ]
        if problems:
            raise SpecError(
                "\n".join([f"{self.name} refuses its parameters:", *map(in_words, dict.fromkeys(problems))])
            )

    def fit(self, window: TrainingWindow, training: Training, *, threads: int, asked: Array) -> Fitted:
        """Train; see ``Engine.fit``.

        Raises:
            JobError: The class raised something that is none of Nightshift's errors.
        """
        with _answering(self.name, "training"):
            fitted = self.made.fit(window, training, threads=threads, asked=asked)
        if not isinstance(fitted, Fitted) or not hasattr(fitted.head, "onnx_nodes"):
            return fitted  # to be refused by who looks at every answer
        return replace(fitted, head=_OwnHead(self.name, fitted.head))


@dataclass(frozen=True)
class _OwnHead:
    """A head that own code gave, perhaps of its own class."""

    name: str
    given: Head

    def onnx_nodes(self, graph: OnnxGraph, features: str, *, output: str) -> str:
        """See ``Head.onnx_nodes``. Raises JobError: Own code raised something that is none of Nightshift's errors."""
        with _answering(self.name, "making its graph"):
            return self.given.onnx_nodes(graph, features, output=output)


@contextmanager
def _answering(named: str, doing: str) -> Iterator[None]:
    """Turn what own code raises into an error that says whose it is and where; Nightshift's own errors pass."""
    try:
        yield
    except NightshiftError:
        raise
    except Exception as error:
        log.exception("train: %s failed while %s", named, doing)
        raise JobError(
            f"{named} failed while {doing}: {told(error, named.partition(':')[0])}.",
            hint="its traceback is in the log of the task, above; a class that knows that no other try can help raises "
            "DataError, SpecError or ModelError of nightshift.errors",
        ) from error


def require_own(training: Training, task: Task) -> None:
    """Import a spec's own engine, if it names one, and hold the parameters against its rules.

    Raises:
        SpecError: It cannot be used here.
    """
    if is_own(training.engine):
        OwnEngine.of(training.engine).require_params(training, task)


def told(error: BaseException, module: str) -> str:
    """``ValueError: words (engines.py, line 31, in fit)``: the innermost line of the class's own package."""
    words = " ".join(str(error).split())
    words = words if len(words) <= SHOWN else words[: SHOWN - 1] + "…"
    said = f"{type(error).__name__}: {words}" if words else type(error).__name__
    if isinstance(error, SyntaxError):
        return said  # it names file and line itself
    place = location(module)
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if place and frame.filename.startswith(place)]
    return f"{said} ({Path(own[-1].filename).name}, line {own[-1].lineno}, in {own[-1].name})" if own else said


def _imported(named: str, path: str) -> ModuleType:
    try:
        return importlib.import_module(path)
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and f"{path}.".startswith(f"{missing}."):
            raise SpecError(
                f"training.engine: there is no module {missing} for jobs on this machine ({sys.executable}).",
                hint=WHERE,
            ) from error
        log.exception("train: %s cannot be imported", named)
        raise SpecError(
            f"training.engine: {path} cannot be imported: {told(error, path)}.",
            hint="jobs need whatever it imports; its traceback is in the log of the task, above",
        ) from error


def _classes_in(path: str) -> list[str]:
    """The classes of a module that could be meant."""
    return [name for name, found in vars(sys.modules[path]).items() if inspect.isclass(found) and hasattr(found, "fit")]


def _require_fit(named: str, fit: Any) -> None:
    if not callable(fit):
        raise SpecError(f"training.engine: {named} has no method fit.", hint=FIT)
    try:
        inspect.signature(fit).bind("window", "training", threads=1, asked="asked")
    except TypeError as error:
        raise SpecError(f"training.engine: {named}.fit cannot be called: {error}.", hint=FIT) from error


def _below_training(problems: Iterator[Problem]) -> Iterator[Problem]:
    for problem in problems:
        yield replace(problem, at=("training", *problem.at))

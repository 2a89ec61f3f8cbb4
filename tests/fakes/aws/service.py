"""What the services that are written here have in common: how an operation is found, checked and carried out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from botocore import xform_name
from botocore.model import ServiceModel
from tests.fakes.aws.clock import Clock
from tests.fakes.aws.cluster import Timing
from tests.fakes.aws.injection import Injections, Rule
from tests.fakes.aws.validation import check_shape, invalid
from tests.fakes.aws.wire import AwsError

Json = dict[str, Any]


class Resource(Protocol):
    """What a service keeps, and what changes with time."""

    def settle(self, now: float) -> None:
        """Bring it to where it is now."""


R = TypeVar("R", bound=Resource)
W = TypeVar("W")


class Service(Generic[R, W]):
    """A service of one account and region. Its operations are methods, by the names that boto3 gives them behind a ``_``.

    Args:
        model: The service's own model.
        clock: The time.
        timing: How long the phases of a resource take.
        injections: What is to go wrong.
        programs: URI that the programs of steps and jobs must be below.
        start: Starts the program of a step or a job.
    """

    def __init__(
        self,
        model: ServiceModel,
        *,
        clock: Clock,
        timing: Timing,
        injections: Injections,
        programs: str,
        start: Callable[[R, W, Rule | None], None],
    ) -> None:
        self._model = model
        self._clock = clock
        self._timing = timing
        self._injections = injections
        self._programs = programs
        self._start_program = start
        self._lock = threading.RLock()
        self._resources: dict[str, R] = {}

    def call(self, operation: str, parameters: Json) -> Json:
        """Carry out an operation.

        Raises:
            AwsError: It cannot be done, in AWS's words.
        """
        handler = self._handler(xform_name(operation)) if operation in self._model.operation_names else None
        if handler is None:
            raise AwsError("UnknownOperationException", f"the double has no {operation}", 501)
        check_shape(self._model.operation_model(operation), parameters)
        with self._lock:
            self.settle()
            answer = handler(parameters)
            self.settle()
            return answer

    def settle(self) -> None:
        """Bring everything to where it is now."""
        with self._lock:
            for resource in self._resources.values():
                resource.settle(self._clock.now())

    def _handler(self, name: str) -> Callable[[Json], Json] | None:
        """What carries out an operation, by the name that boto3 gives it."""
        return getattr(self, f"_{name}", None)

    def _all(self) -> list[R]:
        """All resources that ever were, as they are now, the oldest first."""
        with self._lock:
            self.settle()
            return list(self._resources.values())

    def _check_program(self, program: str) -> None:
        """Raises AwsError: It must not run on this machine."""
        if not program.startswith(self._programs) or ".." in program.split("/"):
            raise invalid(f"The double runs programs below {self._programs} only, not {program}.")

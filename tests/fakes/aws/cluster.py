"""A cluster of EMR on EC2 and its steps: what they go through, and when.

Nothing happens by itself: ``Cluster.settle`` brings a cluster to where it is at a moment, with the times at which
each change was due. So a clock that is moved forward by an hour shows what that hour would have brought.
"""

from __future__ import annotations

import secrets
import string
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.aws.injection import ClusterFault, Injections

ACTIVE = ("STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING", "TERMINATING")
ENDED = ("TERMINATED", "TERMINATED_WITH_ERRORS")
UP = ("RUNNING", "WAITING")
STEP_ENDED = ("COMPLETED", "CANCELLED", "FAILED", "INTERRUPTED")
PRIMARY = "i-0a1b2c3d4e5f60718"  # the instance that EMR names when a bootstrap action fails
LEAST_BILLED = 60.0  # seconds
# Code, words, and the state that the cluster dies in.
FAULTS: dict[ClusterFault, tuple[str, str, str]] = {
    "BOOTSTRAP_FAILURE": (
        "BOOTSTRAP_FAILURE",
        f"On the master instance ({PRIMARY}), bootstrap action 1 returned a non-zero return code",
        "BOOTSTRAPPING",
    ),
    "NO_CAPACITY": (
        "INSTANCE_FLEET_TIMEOUT",
        "The instance fleet could not reach its target capacity before the provisioning timeout: EC2 is out of "
        "capacity for the requested instance types",
        "STARTING",
    ),
    "INTERNAL_ERROR": ("INTERNAL_ERROR", "An internal error occurred.", "STARTING"),
}


def new_id(prefix: str) -> str:
    """Such as ``j-2AXXXXXXGAPLF``."""
    return prefix + "".join(secrets.choice(string.ascii_uppercase + string.digits) for _ in range(13))


@dataclass(frozen=True)
class Timing:
    """How many seconds each phase takes."""

    starting: float = 0.0
    bootstrapping: float = 0.0
    terminating: float = 0.0


@dataclass
class Step:
    """A step.

    Attributes:
        config: As it was sent.
        stop: Ends its process, while there is one.
        cancelled: Somebody asked for its end while it was running.
    """

    config: dict[str, Any]
    created: float
    role: str | None = None
    id: str = field(default_factory=lambda: new_id("s-"))
    state: str = "PENDING"
    failure: dict[str, str] | None = None
    started: float | None = None
    ended: float | None = None
    stop: Callable[[], None] | None = None
    cancelled: bool = False

    @property
    def name(self) -> str:
        return str(self.config["Name"])

    @property
    def on_failure(self) -> str:
        return str(self.config.get("ActionOnFailure", "TERMINATE_CLUSTER")).replace("JOB_FLOW", "CLUSTER")

    def end(self, state: str, at: float, failure: dict[str, str] | None = None) -> None:
        """Raises RuntimeError: It has ended before."""
        if self.state in STEP_ENDED:
            raise RuntimeError(f"step {self.id} is {self.state} and cannot become {state}")
        self.state, self.ended, self.failure = state, at, failure
        if self.stop is not None:
            self.stop()


class Cluster:
    """A cluster.

    Args:
        request: Parameters of ``RunJobFlow``.
        at: When it was created.
        timing: How long its phases take.
        injections: What is to go wrong.
        start: Starts a step that is due.
        boot: Starts its bootstrap actions.

    Attributes:
        places: Where on this machine the paths are that bootstrap actions wrote to.
        halt: Set when it shuts down.
    """

    def __init__(
        self,
        request: dict[str, Any],
        *,
        at: float,
        timing: Timing,
        injections: Injections,
        start: Callable[[Cluster, Step], None],
        boot: Callable[[Cluster], None],
    ) -> None:
        instances = request.get("Instances", {})
        self.id = new_id("j-")
        self.request = request
        self.created = at
        self.state, self.since = "STARTING", at
        self.reason: dict[str, str] = {}
        self.ready: float | None = None
        self.billed_from: float | None = None
        self.ended: float | None = None
        self.steps: list[Step] = []
        self.tags = {tag["Key"]: tag.get("Value", "") for tag in request.get("Tags", [])}
        self.protected = bool(instances.get("TerminationProtected"))
        self.keep_alive = bool(instances.get("KeepJobFlowAliveWhenNoSteps"))
        self.idle_timeout = request.get("AutoTerminationPolicy", {}).get("IdleTimeout")
        self.scaling = request.get("ManagedScalingPolicy")
        self.concurrency = request.get("StepConcurrencyLevel", 1)
        self._timing = timing
        self.places: dict[str, str] = {}
        self.halt = threading.Event()
        self._start = start
        self._boot = boot
        self._booting = False
        self._fault = injections.for_cluster(str(request["Name"]))
        self._errors = False
        self._idle_since = at

    @property
    def name(self) -> str:
        return str(self.request["Name"])

    def alive(self) -> bool:
        """Whether it costs money, or soon will."""
        return self.state in ACTIVE

    def instances(self) -> int:
        """How many instances it was asked to have, a unit of capacity being one."""
        wanted = self.request.get("Instances", {})
        fleets = wanted.get("InstanceFleets", [])
        groups = wanted.get("InstanceGroups", [])
        if fleets:
            return sum(each.get("TargetOnDemandCapacity", 0) + each.get("TargetSpotCapacity", 0) for each in fleets)
        return sum(each["InstanceCount"] for each in groups) if groups else wanted.get("InstanceCount", 1)

    def instance_seconds(self, now: float) -> float:
        """What is billed: from when there are instances until they are gone, a minute at least."""
        if self.billed_from is None:
            return 0.0
        return max(LEAST_BILLED, (self.ended or now) - self.billed_from) * self.instances()

    def settle(self, now: float) -> None:
        """Bring it to where it is now."""
        while self._advance(now):
            pass

    def _advance(self, now: float) -> bool:
        """One change of state, if one is due."""
        match self.state:
            case "STARTING" if now >= (due := self.since + self._timing.starting):
                self._leave("STARTING", "BOOTSTRAPPING", due)
                return True
            case "BOOTSTRAPPING" if not self._booting and now >= (due := self.since + self._timing.bootstrapping):
                self._leave("BOOTSTRAPPING", "RUNNING", due)
                return True
            case "RUNNING" | "WAITING":
                return self._work(now)
            case "TERMINATING" if now >= (due := self.since + self._timing.terminating):
                self._enter("TERMINATED_WITH_ERRORS" if self._errors else "TERMINATED", due)
                self.ended = due
                return True
        return False

    def _leave(self, phase: str, following: str, at: float) -> None:
        """Go on to the next phase, unless this one is the last of it."""
        if self._fault is not None and FAULTS[self._fault.kind][2] == phase:
            code, words, _ = FAULTS[self._fault.kind]
            self.terminate(code, words, at, errors=True)
            return
        self._enter(following, at)
        if following == "BOOTSTRAPPING":
            self.billed_from = at
            if self.request.get("BootstrapActions"):
                self._booting = True
                self._boot(self)
        else:
            self.ready = self._idle_since = at

    def booted(self, failed: int | None, at: float) -> None:
        """Its bootstrap actions have ended; one may have failed."""
        self._booting = False
        if failed is not None:
            words = f"On the master instance ({PRIMARY}), bootstrap action {failed} returned a non-zero return code"
            self.terminate("BOOTSTRAP_FAILURE", words, at, errors=True)
        elif self.state == "BOOTSTRAPPING":
            self.since = max(self.since, at - self._timing.bootstrapping)  # it took at least this long

    def _work(self, now: float) -> bool:
        """Start steps that are due; with none, wait or end."""
        self._start_steps()
        if self.busy():
            if self.state == "WAITING":
                self._enter("RUNNING", now)
            return False
        if not self.keep_alive and not self.protected:
            self.terminate("ALL_STEPS_COMPLETED", "Steps completed", self._idle_since)
            return True
        if self.state == "RUNNING":
            self._enter("WAITING", self._idle_since)
            self.reason = {"Message": "Cluster ready after last step completed."} if self.steps else {}
        due = self._idle_since + self.idle_timeout if self.idle_timeout is not None else None
        if due is not None and now >= due and not self.protected:
            self.terminate("ALL_STEPS_COMPLETED", f"Auto-terminated after {self.idle_timeout} seconds idle", due)
            return True
        return False

    def _start_steps(self) -> None:
        running = sum(step.state == "RUNNING" for step in self.steps)
        for step in [each for each in self.steps if each.state == "PENDING"][: self.concurrency - running]:
            # Not the present: a step that was due an hour ago began an hour ago.
            step.state, step.started = "RUNNING", max(step.created, self._idle_since)
            self._start(self, step)

    def busy(self) -> bool:
        return any(step.state not in STEP_ENDED for step in self.steps)

    def _enter(self, state: str, at: float) -> None:
        self.state, self.since = state, at

    def add(self, step: Step) -> None:
        self.steps.append(step)

    def finish(self, step: Step, state: str, at: float, failure: dict[str, str] | None = None) -> None:
        """A step has ended by itself: do what it asks for on failure."""
        step.end(state, at, failure)
        self._idle_since = max(self._idle_since, at)
        if state != "FAILED" or step.on_failure == "CONTINUE":
            return
        if step.on_failure == "TERMINATE_CLUSTER" and not self.protected:
            self.terminate("STEP_FAILURE", "Shut down as step failed", at, errors=True)
            return
        for other in self.steps:
            if other.state == "PENDING":
                other.end("CANCELLED", at)

    def cancel(self, step: Step, at: float) -> None:
        step.end("CANCELLED", at)
        self._idle_since = max(self._idle_since, at)

    def lose_instances(self, at: float) -> None:
        """The spot market takes the instances that steps run on, and the cluster cannot go on."""
        words = "Core instances were terminated: Amazon EC2 reclaimed the spot instances"
        self.terminate("INSTANCE_FAILURE", words, at, errors=True)

    def terminate(self, code: str, words: str, at: float, *, errors: bool = False) -> None:
        """Shut down; once that has begun, nothing more changes."""
        if not self.alive() or self.state == "TERMINATING":
            return
        self.reason, self._errors = {"Code": code, "Message": words}, errors
        self._enter("TERMINATING", at)
        self.halt.set()
        for step in self.steps:
            if step.state == "PENDING":
                step.end("CANCELLED", at)
            elif step.state not in STEP_ENDED:
                step.end("INTERRUPTED", at)

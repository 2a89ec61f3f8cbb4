"""What a test wants to go wrong: a call, a step, a cluster."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

from tests.fakes.aws.wire import AwsError, Call

StepFault = Literal["COMPLETED", "FAILED", "HANG", "SPOT_LOSS", "LATE_LOGS"]
ClusterFault = Literal["BOOTSTRAP_FAILURE", "NO_CAPACITY", "INTERNAL_ERROR"]

# HTTP status and words, by code; ``{operation}`` and the like are filled in from the call.
ERRORS = {
    "ThrottlingException": (400, "Rate exceeded"),
    "ExpiredTokenException": (400, "The security token included in the request is expired"),
    "AccessDeniedException": (
        400,
        "User: arn:aws:sts::123456789012:assumed-role/orchestrator/session is not authorized to perform: "
        "{service}:{operation} because no identity-based policy allows the {service}:{operation} action",
    ),
    "InvalidRequestException": (400, "Cluster id '{cluster}' is not valid."),
    "InternalServerException": (500, "Internal server error"),
}
# The same, where S3 has other names for it.
S3_ERRORS = {
    "ThrottlingException": ("SlowDown", 503, "Please reduce your request rate."),
    "ExpiredTokenException": ("ExpiredToken", 400, "The provided token has expired."),
    "AccessDeniedException": ("AccessDenied", 403, "Access Denied"),
    "InternalServerException": ("InternalError", 500, "We encountered an internal error. Please try again."),
}
# Services of the XML kind cut the ending off.
SHORT = {"iam", "sts", "ec2"}


@dataclass
class Rule:
    """What goes wrong, with what, how many more times (None: always)."""

    kind: str
    matches: str
    left: int | None
    message: str | None = None

    def takes(self, name: str) -> bool:
        return (self.left is None or self.left > 0) and fnmatchcase(name, self.matches)


class Injections:
    """Rules, used up as they act."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[Rule] = []
        self._lost: list[Rule] = []
        self._steps: list[Rule] = []
        self._clusters: list[Rule] = []

    def clear(self) -> None:
        with self._lock:
            for rules in (self._calls, self._lost, self._steps, self._clusters):
                rules.clear()

    def refuse(self, operation: str, code: str, *, calls: int | None = 1, message: str | None = None) -> None:
        """Answer the next calls of an operation with an error.

        Args:
            operation: Such as ``DescribeStep``, ``s3:PutObject`` or ``s3:*``; ``*`` is every one.
            code: A code of ``ERRORS``, or any other, with a message.
            calls: How many; None is from now on.
            message: Other words than the usual ones.

        Raises:
            ValueError: The code is not known, and there is no message.
        """
        if code not in ERRORS and message is None:
            raise ValueError(f"say the message of {code}, or use one of {', '.join(ERRORS)}")
        self._add(self._calls, Rule(code, operation, calls, message))

    def lose_answer(self, operation: str, *, calls: int | None = 1) -> None:
        """Carry out the next calls of an operation, and drop the connection instead of answering."""
        self._add(self._lost, Rule("lost", operation, calls))

    def step(self, name: str, fault: StepFault, *, times: int | None = 1, message: str | None = None) -> None:
        """Let a step go other ways than its program would.

        Args:
            name: Name of the step, with ``*`` where anything may stand.
            fault: ``COMPLETED`` and ``FAILED`` come at once, with no program run; ``HANG`` never ends by itself;
                ``SPOT_LOSS`` takes the cluster away; with ``LATE_LOGS`` the program runs, and its logs are on
                S3 five minutes later.
            times: How many such steps; None is all.
            message: Last line of its stderr, of one that fails.

        Raises:
            ValueError: There is no such fault.
        """
        _require(fault, StepFault)
        self._add(self._steps, Rule(fault, name, times, message))

    def cluster(self, name: str, fault: ClusterFault, *, times: int | None = 1) -> None:
        """Let a cluster end with errors before it takes a step.

        Raises:
            ValueError: There is no such fault.
        """
        _require(fault, ClusterFault)
        self._add(self._clusters, Rule(fault, name, times))

    def error_for(self, call: Call) -> AwsError | None:
        """The error to answer a call with, if any."""
        rule = self._take(self._calls, call.operation) or self._take(self._calls, f"{call.service}:{call.operation}")
        if rule is None:
            return None
        if call.service == "s3" and rule.kind in S3_ERRORS:
            code, status, words = S3_ERRORS[rule.kind]
            return AwsError(code, rule.message or words, status)
        status, words = ERRORS.get(rule.kind, (400, ""))
        code = rule.kind.removesuffix("Exception") if call.service in SHORT else rule.kind
        cluster = call.parameters.get("ClusterId") or call.parameters.get("JobFlowId")
        filled = words.format(service=call.service, operation=call.operation, cluster=cluster)
        return AwsError(code, rule.message or filled, status)

    def denies(self, action: str) -> bool:
        """Whether an action such as ``elasticmapreduce:RunJobFlow`` would be denied; uses no rule up."""
        with self._lock:
            names = (action, action.partition(":")[2])
            denials = [rule for rule in self._calls if rule.kind == "AccessDeniedException"]
            return any(rule.takes(name) for rule in denials for name in names)

    def loses_answer(self, call: Call) -> bool:
        return self._take(self._lost, call.operation) is not None

    def for_step(self, name: str) -> Rule | None:
        return self._take(self._steps, name)

    def for_cluster(self, name: str) -> Rule | None:
        return self._take(self._clusters, name)

    def from_json(self, wish: dict[str, Any]) -> None:
        """One rule, as the HTTP route takes it.

        Raises:
            ValueError: It has none of ``refuse``, ``lose_answer``, ``step`` and ``cluster``, or other keys.
        """
        for kind in ("refuse", "lose_answer", "step", "cluster"):
            if kind in wish:
                first, rest = wish[kind], {key: value for key, value in wish.items() if key != kind}
                try:
                    getattr(self, kind)(first, **rest)
                except TypeError as error:
                    raise ValueError(f"{kind} does not take {sorted(rest)}") from error
                return
        raise ValueError(f"use refuse, lose_answer, step or cluster, not {sorted(wish)}")

    def _add(self, rules: list[Rule], rule: Rule) -> None:
        with self._lock:
            rules.append(rule)

    def _take(self, rules: list[Rule], name: str) -> Rule | None:
        with self._lock:
            found = next((rule for rule in rules if rule.takes(name)), None)
            if found is not None and found.left is not None:
                found.left -= 1
            return found


def _require(fault: str, kinds: Any) -> None:
    if fault not in get_args(kinds):
        raise ValueError(f"there is no fault {fault!r}; use {', '.join(get_args(kinds))}")

"""How long a store that does not answer is waited for, and when asking again can help.

A request that can be repeated without harm is repeated by the client until ``PATIENCE`` is over, so that a server's
restart costs a wait and not a night. What the client does not repeat by itself (a conditional create, a
delete) is repeated by ``Objects``. Every wait has an end: with nobody answering, any call fails after
about three minutes at most.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

PATIENCE = 90.0  # seconds
PAUSE = 0.5  # seconds between the tries that Objects makes itself
ENOUGH_TRIES = 1000  # time ends the tries, not their number

CLIENT: Mapping[str, str] = {
    "connect_timeout": "5s",
    # Between two reads of an answer, and from the start of a request to the first of them.
    "read_timeout": "30s",
    "timeout": "3m",
}
# What the environment may say of the client, as AWS_ALLOW_HTTP or AWS_READ_TIMEOUT.
OF_THE_ENVIRONMENT = (*CLIENT, "allow_http", "allow_invalid_certificates", "proxy_url", "proxy_excludes")
S3_SCHEMES = ("s3", "s3a")
PREFIXES: Mapping[str, str] = {"s3": "AWS", "s3a": "AWS", "gs": "GOOGLE"}
# How obstore spells an HTTP request that found no server, or got no whole answer.
NO_ANSWER = re.compile(r"\bkind: (Timeout|Interrupted|Connect|Request)\b")


def client_settings(scheme: str, patience: float) -> dict[str, Any]:
    """Arguments of ``from_url`` for a store that is reached over a network.

    Args:
        scheme: The root's scheme.
        patience: For how many seconds a request is repeated. Whoever has more of it than usual sends much at once:
            one request may take as long, and the server may be silent while it receives.
    """
    prefix = PREFIXES.get(scheme, "AZURE")
    # Options that are given replace all of the environment's, also those that are not given.
    given = {name: os.environ.get(f"{prefix}_{name.upper()}") for name in OF_THE_ENVIRONMENT}
    whole = {name: f"{patience:.0f}s" for name in ("read_timeout", "timeout")} if patience > PATIENCE else {}
    return {
        "client_options": {**CLIENT, **whole, **{name: value for name, value in given.items() if value}},
        "retry_config": {
            "max_retries": ENOUGH_TRIES,
            "retry_timeout": timedelta(seconds=patience),
            "backoff": {"init_backoff": timedelta(seconds=0.2), "max_backoff": timedelta(seconds=5), "base": 3},
        },
    }


def may_pass(error: Exception) -> bool:
    """Whether nobody answered, so that asking again may help."""
    return NO_ANSWER.search(str(error)) is not None


def is_refused(error: BaseException | None) -> bool:
    """Whether a store answered that this may not be done, as far as an error tells where it comes from."""
    refusals = (PermissionDeniedError, UnauthenticatedError, PermissionError)
    return error is not None and (isinstance(error, refusals) or is_refused(error.__cause__))

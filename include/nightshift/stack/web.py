"""HTTP to the stack's own ports: no proxy between, no redirects followed, JSON in and out."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from nightshift.errors import StackError


class Unreachable(StackError):
    """Nobody answers there, or the answer broke off."""


@dataclass(frozen=True)
class Answer:
    """What a server said."""

    status: int
    body: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> Any:
        """Raises StackError: It is no JSON."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise StackError(f"the answer is no JSON: {self.body[:200]!r}") from error

    def told(self) -> str:
        """What an error answer says, for people."""
        try:
            detail = json.loads(self.body)
        except ValueError:
            return self.body.decode(errors="replace").strip()[:300]
        detail = detail.get("detail", detail) if isinstance(detail, dict) else detail
        if isinstance(detail, list):
            return "; ".join(str(part.get("msg", part)) if isinstance(part, dict) else str(part) for part in detail)
        if isinstance(detail, dict):
            return str(detail.get("reason") or detail.get("message") or detail)
        return str(detail)


def ask(
    url: str,
    *,
    method: str = "GET",
    content: Any = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 20,
) -> Answer:
    """The answer of a server, whatever its status.

    Raises:
        Unreachable: There is no whole answer.
    """
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "localhost", parts.port, timeout=timeout)
    body = None if content is None else json.dumps(content)
    sent = {"Accept": "application/json", **({"Content-Type": "application/json"} if body else {}), **(headers or {})}
    try:
        connection.request(method, parts._replace(scheme="", netloc="").geturl() or "/", body=body, headers=sent)
        answer = connection.getresponse()
        return Answer(answer.status, answer.read())
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(f"{parts.netloc} does not answer: {str(error) or type(error).__name__}") from error
    finally:
        connection.close()


def basic(user: str, password: str) -> dict[str, str]:
    """The header of a login by name and password."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}

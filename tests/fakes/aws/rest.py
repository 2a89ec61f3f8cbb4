"""EMR Serverless by its requests: its operations are methods and paths."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

from botocore.loaders import Loader
from botocore.model import ServiceModel, StructureShape
from werkzeug.wrappers import Request

SERVICE = "emr-serverless"


@cache
def service_model() -> ServiceModel:
    return ServiceModel(Loader().load_service_model(SERVICE, "service-2"), SERVICE)


def read(request: Request) -> tuple[str, dict[str, Any]]:
    """Operation and parameters; a request that is none of the service is called by its method and path."""
    for operation, method, path in _routes():
        found = path.fullmatch(request.path) if method == request.method else None
        if found is not None:
            body = json_or_nothing(request.get_data(cache=True))
            return operation, {**body, **found.groupdict(), **_queried(operation, request)}
    return f"{request.method} {request.path}", {}


def json_or_nothing(body: bytes) -> dict[str, Any]:
    """A body that is a JSON object; anything else is none."""
    try:
        found = json.loads(body or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


@cache
def _routes() -> list[tuple[str, str, re.Pattern[str]]]:
    found = []
    for name in service_model().operation_names:
        http = service_model().operation_model(name).http
        path = "/".join(_segment(each) for each in http["requestUri"].split("/"))
        found.append((name, http["method"], re.compile(path)))
    return found


def _segment(text: str) -> str:
    """A part of a path, as a regular expression. An ARN has slashes of its own."""
    name = text.strip("{}")
    if name == text:
        return re.escape(text)
    return f"(?P<{name}>{'.+' if name == 'resourceArn' else '[^/]+'})"


def _queried(operation: str, request: Request) -> dict[str, Any]:
    shape, found = service_model().operation_model(operation).input_shape, {}
    for name, member in shape.members.items() if isinstance(shape, StructureShape) else ():
        values = request.args.getlist(member.serialization.get("name", name))
        if member.serialization.get("location") == "querystring" and values:
            found[name] = values if member.type_name == "list" else values[0]
    return found

"""Routes for whoever is in another process: what is to go wrong, the clock, the journal, the bill."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from werkzeug.wrappers import Request, Response

if TYPE_CHECKING:
    from tests.fakes.aws.server import AwsDouble

ROOT = "/_double/"


def answer(double: AwsDouble, request: Request) -> Response:
    """``GET``: journal, clusters, applications, billing, clock. ``POST``: inject, clock, lose-instances, reset."""
    name = request.path.removeprefix(ROOT)
    try:
        body = _looked_up(double, name) if request.method == "GET" else _done(double, name, request)
    except (ValueError, LookupError) as error:
        return Response(json.dumps({"error": str(error)}), 400, content_type="application/json")
    return Response(json.dumps(body), 200, content_type="application/json")


def _looked_up(double: AwsDouble, name: str) -> Any:
    match name:
        case "journal":
            return double.journal.as_json()
        case "clusters":
            return [
                {"id": each.id, "name": each.name, "state": each.state, "reason": each.reason, "tags": each.tags}
                for each in double.emr.clusters()
            ]
        case "applications":
            return [
                {"id": each.id, "state": each.state, "jobs": {job.id: [job.name, job.state] for job in each.jobs}}
                for each in double.serverless.applications()
            ]
        case "billing":
            return double.billed()
        case "clock":
            return {"now": double.clock.now()}
    raise LookupError(f"there is no {ROOT}{name}; look at journal, clusters, applications, billing, clock")


def _done(double: AwsDouble, name: str, request: Request) -> Any:
    wish = request.get_json(force=True, silent=True) or {}
    match name:
        case "inject":
            double.inject.from_json(wish)
        case "clock":
            double.advance(float(wish["advance"]))
        case "lose-instances":
            double.emr.lose_instances(str(wish["cluster"]))
        case "reset":
            double.reset()
        case _:
            raise LookupError(f"there is no {ROOT}{name}; post to inject, clock, lose-instances, reset")
    return {}

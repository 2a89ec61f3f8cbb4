"""The server: control routes and EMR are answered here, everything else by Moto."""

from __future__ import annotations

import io
import socket
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from moto.server import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from tests.fakes.aws import control, policy_simulator, rest, wire
from tests.fakes.aws.bootstrap import Bootstrapper
from tests.fakes.aws.clock import Clock
from tests.fakes.aws.cluster import Cluster, Step, Timing
from tests.fakes.aws.emr import Emr
from tests.fakes.aws.injection import Injections
from tests.fakes.aws.job_runner import JobRunner
from tests.fakes.aws.journal import Journal
from tests.fakes.aws.serverless import Serverless
from tests.fakes.aws.serverless_life import Application, JobRun
from tests.fakes.aws.spark_submit import Node
from tests.fakes.aws.step_runner import StepRunner
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

LOOPBACK = "127.0.0.1"
REGION = "us-east-1"
EMR = "elasticmapreduce"
ORCHESTRATOR = {"AWS_ACCESS_KEY_ID": "orchestrator", "AWS_SECRET_ACCESS_KEY": "orchestrator-secret"}
INSTANCE_ROLE = {
    "AWS_ACCESS_KEY_ID": "instance-role",
    "AWS_SECRET_ACCESS_KEY": "instance-role-secret",
    "AWS_SESSION_TOKEN": "instance-role-token",
}
Environ = dict[str, Any]


class QuietHandler(MotoRequestHandler):
    """Says nothing: a test reads the journal."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing."""


class AwsDouble:
    """AWS on loopback.

    Args:
        programs: URI below which the programs of steps must be.
        clock: The time; by default it passes by itself.
        timing: How long the phases of a cluster take.
        port: Where to listen; 0 is any free one.
        bare_nodes: Nodes have Python and PySpark, and nothing else.
        local_arguments: Programs get copies of what their arguments name on S3, and what they change goes back.

    Attributes:
        clock: The time.
        journal: Every request.
        inject: What is to go wrong.
        emr: Its clusters.
        serverless: Its applications of EMR Serverless.
    """

    def __init__(
        self,
        *,
        programs: str,
        clock: Clock | None = None,
        timing: Timing | None = None,
        port: int = 0,
        bare_nodes: bool = False,
        local_arguments: bool = False,
    ) -> None:
        if not programs.startswith("s3://") or len(programs) < len("s3://abc"):
            raise ValueError(f"programs is {programs!r}; name a bucket, or a prefix in one")
        self.clock = clock or Clock()
        self.journal = Journal()
        self.inject = Injections()
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server(LOOPBACK, port, self._answer, threaded=True, request_handler=QuietHandler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.endpoint = f"http://{LOOPBACK}:{self._server.server_port}"
        node = Node(self.endpoint, INSTANCE_ROLE, REGION, bare=bare_nodes, local_arguments=local_arguments)
        self._home = tempfile.TemporaryDirectory(prefix="aws-double-", ignore_cleanup_errors=True)
        self._runner = StepRunner(node, self._s3, self.clock, self._ended)
        self._bootstrapper = Bootstrapper(node, self._s3, Path(self._home.name), self._booted)
        self.emr = Emr(
            clock=self.clock,
            timing=timing or Timing(),
            injections=self.inject,
            programs=programs,
            start=self._runner.start,
            boot=self._bootstrapper.start,
        )
        self._jobs = JobRunner(node, self._s3, self._job_ended)
        self.serverless = Serverless(
            clock=self.clock,
            timing=timing or Timing(),
            injections=self.inject,
            programs=programs,
            start=self._jobs.start,
        )

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to take this for AWS."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            **ORCHESTRATOR,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ALLOW_HTTP": "true",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AIRFLOW_CONN_AWS_DEFAULT": "aws://",
        }

    def client(self, service: str, credentials: dict[str, str] | None = None, config: Any = None) -> Any:
        """A client of boto3, by default the orchestrator's."""
        import boto3

        known = credentials or ORCHESTRATOR
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=known["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=known["AWS_SECRET_ACCESS_KEY"],
            aws_session_token=known.get("AWS_SESSION_TOKEN"),
            config=config,
        )

    def advance(self, seconds: float) -> None:
        """Move the clock forward; whatever was due by then has happened."""
        self.clock.advance(seconds)
        self.settle()

    def settle(self) -> None:
        """Let everything happen that is due by now; requests to EMR do it too."""
        self.emr.settle()
        self.serverless.settle()
        self._runner.upload_late_logs()

    def alive(self) -> list[Cluster]:
        """Clusters that cost money, or soon will."""
        return [cluster for cluster in self.emr.clusters() if cluster.alive()]

    def billed(self) -> dict[str, float]:
        """Instance-seconds by cluster."""
        return {cluster.id: cluster.instance_seconds(self.clock.now()) for cluster in self.emr.clusters()}

    def join(self) -> None:
        """Wait for the programs of all steps that were started, and of all bootstrap actions."""
        self._bootstrapper.join()
        self._runner.join()
        self._jobs.join()

    def reset(self) -> None:
        """As new: no clusters, nothing to go wrong, an empty journal. What is on S3 stays."""
        self.emr.forget()
        self.serverless.forget()
        self.join()
        self.inject.clear()
        self.journal.clear()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End every step and the server."""
        self.emr.forget()
        self.serverless.forget()
        self.join()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._home.cleanup()

    def _s3(self) -> Any:
        return self.client("s3", INSTANCE_ROLE)

    def _booted(self, cluster: Cluster, failed: int | None) -> None:
        self.emr.booted(cluster, failed)

    def _job_ended(self, application: Application, job: JobRun, code: int, words: str) -> None:
        self.serverless.ended(application, job, code, words)

    def _ended(self, cluster: Cluster, step: Step, state: str, failure: dict[str, str] | None) -> None:
        self.emr.ended(cluster, step, state, failure)

    def _answer(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        request = Request(environ)
        if request.path.startswith(control.ROOT):
            return control.answer(self, request)(environ, start_response)
        call = wire.read(request)
        call.at = self.clock.now()
        if call.service != "s3" or "Keys" in call.parameters:
            environ["wsgi.input"] = io.BytesIO(request.get_data(cache=True))
        self.journal.add(call)
        error = self.inject.error_for(call)
        if error is not None:
            return self._refuse(call, error)(environ, start_response)
        lost = self.inject.loses_answer(call)
        if call.operation == policy_simulator.OPERATION:
            call.status = 200
            response = policy_simulator.answer(call.parameters, self.inject)(environ, start_response)
        elif call.service in (EMR, rest.SERVICE):
            response = self._emr(call)(environ, (lambda *_: None) if lost else start_response)
        else:
            response = self._moto(environ, _noting(call, start_response))
        return _drop(environ, call, response) if lost else response

    def _emr(self, call: wire.Call) -> Response:
        self._runner.upload_late_logs()
        service = self.emr if call.service == EMR else self.serverless
        try:
            response = wire.answer(call, service.call(call.operation, call.parameters))
        except wire.AwsError as error:
            return self._refuse(call, error)
        call.status = response.status_code
        return response

    def _refuse(self, call: wire.Call, error: wire.AwsError) -> Response:
        call.status, call.error = error.status, error.code
        return wire.error_answer(call, error)


def _noting(call: wire.Call, start_response: Callable[..., Any]) -> Callable[..., Any]:
    """Take down the status that Moto answers with."""

    def noted(status: str, *rest: Any) -> Any:
        call.status = int(status.split(maxsplit=1)[0])
        call.error = status if call.status >= 400 else None
        return start_response(status, *rest)

    return noted


def _drop(environ: Environ, call: wire.Call, response: Iterable[bytes]) -> Iterable[bytes]:
    """Hang up on whoever asked."""
    for _ in response:
        pass
    call.status = 0
    connection: socket.socket = environ["werkzeug.socket"]
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    raise ConnectionAbortedError("the answer is lost, as was wished")


@contextmanager
def aws_double(**wishes: Any) -> Iterator[AwsDouble]:
    """A server of its own, gone with the block; takes what ``AwsDouble`` takes."""
    double = AwsDouble(**wishes)
    double.start()
    try:
        yield double
    finally:
        double.stop()

"""Runs, model versions and aliases in MLflow, written so that a repeated call finishes what a killed one began.

Everything of one registration carries the tag ``nightshift.run_key``. Each step first looks for its own
result: a run, a logged model, a version. A version is created last, with its tags, from bytes that were read
back and compared; so a version that exists is whole.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from nightshift.errors import StorageError
from nightshift.registry.model_folder import GRAPH_FILE, ModelOutputs, write_model_folder
from nightshift.registry.trial_runs import TrialRun, log_trials
from nightshift.storage.objects import first_line

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput

log = logging.getLogger(__name__)

RUN_KEY = "nightshift.run_key"
DIGEST_CHARACTERS = 36
TAG_CHARACTERS = 5000
MESSAGE_CHARACTERS = 300
# As urllib3 nests it: HTTPConnectionPool(...): Max retries exceeded ... (Caused by NewConnectionError("...: cause")).
CAUSE = re.compile(r"Caused by \w+\([\"'](?:[^\"]*?\): )?(.*)[\"']\)\)")
# MLflow waits minutes for a server that is down; a stage is tried again anyway.
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}


@dataclass(frozen=True)
class DatasetUse:
    """A table that the model learned from or was judged on.

    Attributes:
        name: Its name in the stage that published it.
        context: ``training`` or ``evaluation``.
        digest: Content digest.
        uri: Where its version lies in storage.
        rows: Number of rows.
        schema: Column names and their Arrow types.
    """

    name: str
    context: str
    digest: str
    uri: str
    rows: int
    schema: Mapping[str, str]


@dataclass(frozen=True)
class Submission:
    """One model version, described.

    Attributes:
        run_key: What makes the registration idempotent.
        run_name: Name of the MLflow run, for people.
        graph: Bytes of the ONNX graph.
        digest: Their sha256.
        columns: Request columns, as name and kind.
        outputs: What the model gives, as name, type and shape.
        example: Two values of each request column.
        params, metrics, tags: What the run says; tags also go onto the version.
        datasets: What it learned from and was judged on.
        artifacts: Further files of the run, by name.
        timestamp: Milliseconds since 1970 of the night; every metric has it, so that logging twice adds nothing.
        trials: The trials of its search: runs below this one.
    """

    run_key: str
    run_name: str
    graph: bytes
    digest: str
    columns: Sequence[tuple[str, str]]
    outputs: ModelOutputs
    example: Mapping[str, Sequence[Any]]
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    datasets: Sequence[DatasetUse]
    artifacts: Mapping[str, bytes]
    timestamp: int
    trials: Sequence[TrialRun] = ()


@dataclass(frozen=True)
class Registered:
    """A model version in the registry.

    Attributes:
        version: Its number.
        run_id: The MLflow run that describes it.
        created: Whether this call made it.
    """

    version: int
    run_id: str
    created: bool


class Registry:
    """One registered model in MLflow, and the experiment of the same name.

    MLflow's own state is per process: the tracking URI of the process becomes this one.

    Args:
        uri: Tracking URI: ``sqlite:///…`` or ``http(s)://…``.
        model: Name of the registered model.
        artifact_root: Where the artifacts of a new experiment go; default: the folder ``mlartifacts`` beside an
            SQLite file, else what the server says.

    Raises:
        StorageError: MLflow does not answer; also raised by every method.
    """

    def __init__(self, uri: str, model: str, *, artifact_root: str | None = None) -> None:
        self.uri = uri
        self.model = model
        self._artifact_root = artifact_root or default_artifact_root(uri)
        with answering(uri, "open"):
            self._client = open_client(uri)

    # -- registering ---------------------------------------------------------------------------------

    def register(self, submission: Submission, scratch: Path) -> Registered:
        """Make sure that there is one whole version with this run key.

        Args:
            submission: The version.
            scratch: An existing folder for temporary files.

        Raises:
            StorageError: MLflow does not answer, or stored other bytes than it was given; another try finishes.
        """
        with answering(self.uri, f"register {self.model}"):
            found = self._find(submission.run_key)
            if found is not None:
                return found
            experiment_id = self._experiment_id()
            run_id = self._run_id(experiment_id, submission)
            self._describe(run_id, submission)
            log_trials(self._client, experiment_id, run_id, submission.trials, submission.timestamp)
            model_id = self._logged_model(experiment_id, run_id, submission, scratch)
            version = self._version(run_id, model_id, submission)
            self._client.set_terminated(run_id)
        return Registered(version, run_id, created=True)

    def find(self, run_key: str) -> Registered | None:
        """The version with this run key, or None if there is none that is complete."""
        with answering(self.uri, f"search {self.model}"):
            return self._find(run_key)

    def _find(self, run_key: str) -> Registered | None:
        for version in self._versions(run_key):
            if self._client.get_run(version.run_id).info.status == "FINISHED":
                return Registered(int(version.version), version.run_id, created=False)
        return None

    def _versions(self, run_key: str) -> list[Any]:
        """Versions with this run key, the oldest first."""
        found = self._client.search_model_versions(f"name = '{self.model}' and tags.`{RUN_KEY}` = '{run_key}'")
        return sorted(found, key=lambda version: int(version.version))

    def _experiment_id(self) -> str:
        found = self._client.get_experiment_by_name(self.model)
        if found is None:
            location = f"{self._artifact_root}/{self.model}" if self._artifact_root else None
            with allowing("RESOURCE_ALREADY_EXISTS"):
                self._client.create_experiment(self.model, artifact_location=location)
            found = self._client.get_experiment_by_name(self.model)
        return str(found.experiment_id)

    def _run_id(self, experiment_id: str, submission: Submission) -> str:
        there = self._client.search_runs(
            [experiment_id],
            filter_string=f"tags.`{RUN_KEY}` = '{submission.run_key}'",
            order_by=["attributes.start_time ASC"],
            max_results=1,
        )
        if there:
            log.info("MLflow run %s was begun before; it is finished now", there[0].info.run_id)
            return str(there[0].info.run_id)
        run = self._client.create_run(experiment_id, run_name=submission.run_name, tags={RUN_KEY: submission.run_key})
        return str(run.info.run_id)

    def _describe(self, run_id: str, submission: Submission) -> None:
        from mlflow.entities import Metric, Param, RunTag

        self._client.log_batch(
            run_id,
            metrics=[Metric(name, value, submission.timestamp, 0) for name, value in submission.metrics.items()],
            params=[Param(name, str(value)) for name, value in submission.params.items()],
            tags=[RunTag(name, value[:TAG_CHARACTERS]) for name, value in submission.tags.items()],
        )
        self._client.log_inputs(run_id, datasets=[_dataset_input(dataset) for dataset in submission.datasets])
        for name, data in submission.artifacts.items():
            self._client.log_text(run_id, data.decode(), name)

    def _logged_model(self, experiment_id: str, run_id: str, submission: Submission, scratch: Path) -> str:
        """Id of the uploaded model, its bytes read back and compared."""
        from mlflow.entities import LoggedModelOutput, LoggedModelStatus

        there = self._client.search_logged_models(
            [experiment_id], filter_string=f"tags.`{RUN_KEY}` = '{submission.run_key}'"
        )
        for logged in there:
            if logged.status == LoggedModelStatus.READY:
                return str(logged.model_id)
        logged = self._client.create_logged_model(
            experiment_id, name=self.model, source_run_id=run_id, tags={RUN_KEY: submission.run_key}
        )
        self._client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
        folder = scratch / logged.model_id
        write_model_folder(
            folder,
            submission.graph,
            columns=submission.columns,
            outputs=submission.outputs,
            example=submission.example,
            logged=logged,
        )
        self._client.log_model_artifacts(logged.model_id, str(folder))
        self._require_bytes(logged.artifact_location, submission.digest, scratch / f"{logged.model_id}-read-back")
        self._client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
        return str(logged.model_id)

    def _require_bytes(self, location: str, digest: str, folder: Path) -> None:
        import mlflow.artifacts

        folder.mkdir()
        path = mlflow.artifacts.download_artifacts(
            artifact_uri=f"{location}/{GRAPH_FILE}", dst_path=str(folder), tracking_uri=self.uri
        )
        stored = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        if stored != digest:
            raise StorageError(
                f"MLflow stored other bytes than it was given: {location}/{GRAPH_FILE} has digest {stored}, "
                f"the model has {digest}. No version was made of it.",
                hint="check the disk or bucket behind MLflow; another try uploads again",
            )

    def _version(self, run_id: str, model_id: str, submission: Submission) -> int:
        there = self._versions(submission.run_key)
        if there:
            return int(there[0].version)
        with allowing("RESOURCE_ALREADY_EXISTS"):
            self._client.create_registered_model(self.model)
        made = self._client.create_model_version(
            self.model,
            source=f"models:/{model_id}",
            run_id=run_id,
            tags={name: value[:TAG_CHARACTERS] for name, value in submission.tags.items()}
            | {RUN_KEY: submission.run_key},
            model_id=model_id,
            await_creation_for=0,
        )
        first = self._versions(submission.run_key)[0]
        if int(first.version) != int(made.version):
            # Two processes registered the same model at once; the first version stands.
            self._client.delete_model_version(self.model, str(made.version))
        return int(first.version)

    def log_artifact(self, run_id: str, path: Path) -> None:
        """Add a local file to a run."""
        with answering(self.uri, f"store {path.name}"):
            self._client.log_artifact(run_id, str(path))


def initialise(uri: str, artifact_root: str | None = None) -> None:
    """Create the tables of an SQLite store, which takes seconds, and make sure that MLflow answers.

    Args:
        uri: Tracking URI.
        artifact_root: Folder for artifacts, made if it is local; default: ``mlartifacts`` beside the SQLite file.

    Raises:
        StorageError: MLflow does not answer, or its tables are of another version.
    """
    root = artifact_root or default_artifact_root(uri)
    if root is not None and urlsplit(root).scheme == "file":
        Path(unquote(urlsplit(root).path)).mkdir(parents=True, exist_ok=True)
    with answering(uri, "initialise"):
        open_client(uri).search_experiments(max_results=1)


def load_mlflow() -> None:
    """Import MLflow, which takes seconds, so that somebody who waits for something else can do it meanwhile."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    import mlflow

    for logger in (mlflow.__name__, "alembic"):
        logging.getLogger(logger).setLevel(logging.WARNING)


def open_client(uri: str) -> MlflowClient:
    load_mlflow()
    import mlflow

    path = sqlite_path(uri)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    # A direct SQLite store resolves models:/<id> by the process's tracking URI, whatever its client was given.
    mlflow.set_tracking_uri(uri)
    return mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)


def sqlite_path(uri: str) -> Path | None:
    return Path(uri.removeprefix("sqlite:///")).absolute() if uri.startswith("sqlite:///") else None


def default_artifact_root(uri: str) -> str | None:
    path = sqlite_path(uri)
    return None if path is None else (path.parent / "mlartifacts").as_uri()


def shown(uri: str) -> str:
    """A URI without the password that may be in it."""
    parts = urlsplit(uri)
    return uri.replace(parts.netloc, parts.netloc.rpartition("@")[2], 1) if "@" in parts.netloc else uri


def shortened(message: str) -> str:
    """Of a request that failed only its cause: where it went is said beside it; cut between words, if it is cut."""
    cause = CAUSE.search(message)
    return textwrap.shorten(cause[1] if cause else message, MESSAGE_CHARACTERS, placeholder=" …")


@contextmanager
def answering(uri: str, action: str) -> Iterator[None]:
    """Turn every way in which MLflow fails into a ``StorageError`` that says what to do."""
    import requests
    import sqlalchemy.exc

    try:
        from mlflow.exceptions import MlflowException

        yield
    except (MlflowException, requests.RequestException, sqlalchemy.exc.SQLAlchemyError, OSError) as error:
        hint = "start the MLflow server, or check NIGHTSHIFT_MLFLOW_URI; the stage can be run again at any time"
        if "out-of-date database schema" in str(error):
            hint = f"back the database up, then run: mlflow db upgrade {shown(uri)}"
        message = shortened(first_line(error).replace(uri, shown(uri)))
        raise StorageError(f"MLflow at {shown(uri)} could not {action}: {message}", hint=hint) from error


@contextmanager
def allowing(code: str) -> Iterator[None]:
    """Pass over one of MLflow's error codes."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != code:
            raise


def _dataset_input(dataset: DatasetUse) -> DatasetInput:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    columns = [{"type": kind, "name": name, "required": False} for name, kind in dataset.schema.items()]
    about = Dataset(
        name=dataset.name,
        digest=dataset.digest[:DIGEST_CHARACTERS],
        source_type="nightshift",
        source=json.dumps({"uri": dataset.uri, "digest": dataset.digest}),
        schema=json.dumps({"mlflow_colspec": columns}),
        profile=json.dumps({"num_rows": dataset.rows}),
    )
    return DatasetInput(about, tags=[InputTag("mlflow.data.context", dataset.context)])

"""What one run is about: its interval, its windows, its plan, and the keys that make its effects idempotent."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, time
from functools import cached_property, lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from typing import Any, Literal

from nightshift.errors import IntegrityError
from nightshift.interval import DAY, EVER, Interval, resolve_interval
from nightshift.spec.models import ModelSpec

__all__ = ["DAY", "EVER", "Interval", "resolve_interval"]  # of interval.py: whoever has a plan speaks of intervals

PLAN_FORMAT = 1
Trigger = Literal["scheduled", "manual", "backfill", "asset", "test", "cli"]
STAGES = ("ingest", "validate", "preprocess", "train", "evaluate", "register", "deploy")

# Of spec/ only what shapes values: a better error message must not make every night of every model run again.
_SPEC = (
    "spec/base.py",
    "spec/data_checks.py",
    "spec/label_rule.py",
    "spec/models.py",
    "spec/search.py",
    "spec/transform_kinds.py",
    "spec/values.py",
)
_LIBRARY = ("errors.py", "interval.py", "plan.py", "settings.py", *_SPEC, "storage")
CODE_OF_STAGE: dict[str, tuple[str, ...]] = {
    "ingest": (*_LIBRARY, "ingest"),
    "validate": (*_LIBRARY, "validate", "shift", "ledger/blessings.py"),
    "preprocess": (*_LIBRARY, "preprocess", "shift", "ledger", "transforms", "spark", "java.py"),
    "train": (*_LIBRARY, "train", "transforms", "model"),
    "evaluate": (*_LIBRARY, "evaluate", "model", "transforms", "ledger"),
    "register": (*_LIBRARY, "register", "model", "ledger", "registry"),
    "deploy": (*_LIBRARY, "deploy", "model", "ledger", "registry"),
}
# Counts only where Spark trains: elsewhere a new Spark must not train anything again.
CODE_OF_SPARK = ("spark", "java.py")
LIBRARIES_OF_SPARK = ("pyspark", "pyarrow")
# Count only where a search is asked for: what decides, and what proposes and judges.
SPEC_OF_SEARCH = ("gates",)
LIBRARIES_OF_SEARCH = ("optuna", "scikit-learn")
LIBRARIES_OF_TORCH = ("torch",)
# A new version of one of these may give another result from the same inputs.
LIBRARIES_OF_STAGE: dict[str, tuple[str, ...]] = {
    "ingest": ("pyarrow",),
    "validate": ("great-expectations", "pandas", "pyarrow"),
    "preprocess": ("pyspark",),
    "train": ("onnx", "onnxmltools", "skl2onnx", "xgboost-cpu"),
    "evaluate": ("onnxruntime", "scikit-learn", "scipy", "shap"),
    "register": ("mlflow", "onnxruntime"),
    "deploy": ("onnxruntime",),
}
_HELD_OUT = ("window", "split")
SPEC_OF_STAGE: dict[str, tuple[str, ...]] = {
    "ingest": ("source", "tables", "key", "label", "quarantine", *_HELD_OUT),
    "validate": (
        *("source", "key", "expectations", "quarantine", "volume", "data_checks", "label", "features"),
        *_HELD_OUT,
    ),
    "preprocess": ("source", "key", "tables", "prepare_sql", "data_checks", "label", "features", *_HELD_OUT, "gates"),
    "train": ("key", "label", "features", "training", *_HELD_OUT),
    "evaluate": ("key", "label", "features", "training", "gates", *_HELD_OUT),
    "register": ("owner", "description", "key", "label", "training", "gates", *_HELD_OUT, "approval"),
    "deploy": ("deploy", "gates", "approval"),
}


def stages_of(spec: ModelSpec) -> tuple[str, ...]:
    """The stages of a night: where a person approves, it ends with a registered candidate."""
    return STAGES if spec.approval == "auto" else STAGES[: STAGES.index("deploy")]


@dataclass(frozen=True)
class Approval:
    """What became of the question whether a version may ship.

    Attributes:
        approved: Whether it may.
        by: Who answered; None where nobody did in time.
        comment: What they had to say about it.
    """

    approved: bool
    by: str | None
    comment: str = ""


@dataclass(frozen=True)
class Windows:
    """What a night may look at, by its clock: only rows whose labels are known.

    Rows of a static source have no time: all three are all time, and ``spec.split`` tells training from holdout.

    Attributes:
        train: ``[end - delay - holdout - train, end - delay - holdout)``.
        holdout: ``[end - delay - holdout, end - delay)``.
        ingest: Everything from the first training day to the night's own day.
    """

    train: Interval
    holdout: Interval
    ingest: Interval

    @classmethod
    def of(cls, spec: ModelSpec, interval: Interval) -> Windows:
        if spec.window is None:
            return cls(EVER, EVER, EVER)
        known = interval.end - spec.label.delay
        known = datetime.combine(known.date(), time(), UTC)
        split = known - spec.window.holdout
        first = split - spec.window.train
        return cls(
            train=Interval(first, split),
            holdout=Interval(split, known),
            ingest=Interval(first, max(interval.end, known)),
        )

    @property
    def by_time(self) -> dict[str, Interval]:
        """What the days of rows tell apart: training and holdout, or nothing."""
        return {"all": EVER} if self.ingest == EVER else {"train": self.train, "holdout": self.holdout}

    def named(self, window: Literal["train", "holdout"]) -> str:
        """A window in words, for people."""
        if self.ingest == EVER:
            return f"the {window} side of the split"
        bounds = self.train if window == "train" else self.holdout
        return f"the {window} window {bounds} ({len(list(bounds.days()))} days)"


def canonical_json(value: Any) -> bytes:
    """The one text form that digests are taken of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest_of(value: Any) -> str:
    return hashlib.sha256(canonical_json(value)).hexdigest()


@lru_cache(maxsize=64)
def code_digest(parts: tuple[str, ...]) -> str:
    """Digest of the source files of the named modules and folders of this package."""
    digest = hashlib.sha256()
    for part in parts:
        for name, file in _sources(part):
            digest.update(name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def _sources(part: str) -> Iterator[tuple[str, Traversable]]:
    """Source files of one module or folder with their names, in order: on disk and inside a zip the same."""
    found = files("nightshift").joinpath(part)
    if found.is_file():
        yield part, found
        return
    for child in sorted(found.iterdir(), key=lambda child: child.name):
        if child.name.endswith(".py") or child.is_dir():
            yield from _sources(f"{part}/{child.name}")


@lru_cache(maxsize=64)
def library_versions(names: tuple[str, ...]) -> dict[str, str | None]:
    """Installed versions by distribution name; None where it is not installed."""
    found: dict[str, str | None] = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = _version_of_clusters_spark() if name == "pyspark" else None
    return found


def _version_of_clusters_spark() -> str | None:
    """Of the Spark that a cluster's machines have: it is no distribution, only modules on the path."""
    if find_spec("pyspark") is None:
        return None
    from pyspark.version import __version__

    return str(__version__)


@dataclass(frozen=True)
class Plan:
    """The resolved spec, interval and locations of one run. Published once; jobs read nothing else.

    Attributes:
        spec: The spec as it was when the run was planned, SQL included.
        interval: The night's interval.
        storage: Root URI of the object store.
        env: Environment prefix.
        mlflow_uri: MLflow tracking URI.
        run_id: Airflow's run id, or one made by the CLI.
        trigger: What started the run. Backfills never promote.
        threads: Threads of a job.
        code_version: Digest of the whole package the plan was made with.
        approval: The answer, where a person was asked; None before that.
    """

    spec: ModelSpec
    interval: Interval
    storage: str
    env: str
    mlflow_uri: str
    run_id: str
    trigger: Trigger
    threads: int
    code_version: str
    approval: Approval | None = None

    @cached_property
    def windows(self) -> Windows:
        return Windows.of(self.spec, self.interval)

    @property
    def model(self) -> str:
        return self.spec.model

    @property
    def own(self) -> Interval:
        """What the newest snapshot is for that the night may read: its own day, or all time."""
        return EVER if self.spec.source.static else self.interval

    def stage_key(self, stage: str, inputs: Mapping[str, str]) -> str:
        """Key of a stage's result: same key, same published result.

        Args:
            stage: Name of the stage.
            inputs: Content digests of what the stage reads, by name.
        """
        about = {"model": self.model, "interval": self.interval.key, "stage": stage, "inputs": dict(inputs)}
        return digest_of({**about, **self._made_by(stage)})

    def outcome_key(self, inputs: Mapping[str, str]) -> str:
        """Key of all that a night makes of its inputs, whichever night it is: as far as is known before it is made.

        Args:
            inputs: Content digests of what ingest gives, by name.
        """
        made_by = {stage: self._made_by(stage) for stage in stages_of(self.spec)}
        return digest_of({"model": self.model, "inputs": dict(inputs), "stages": made_by})

    def _made_by(self, stage: str) -> dict[str, Any]:
        """What a stage's result depends on besides its inputs."""
        spec = self.spec.model_dump(mode="json")
        return {
            "spec": {section: spec[section] for section in SPEC_OF_STAGE[stage]},
            "code": code_digest(CODE_OF_STAGE[stage]),
            "threads": self.threads if stage == "train" else None,
            "libraries": library_versions(LIBRARIES_OF_STAGE[stage]),
        }

    def to_json(self) -> bytes:
        return canonical_json(
            {
                "format": PLAN_FORMAT,
                "spec": self.spec.model_dump(mode="json", exclude_defaults=True),
                "interval": [self.interval.start.isoformat(), self.interval.end.isoformat()],
                "storage": self.storage,
                "env": self.env,
                "mlflow_uri": self.mlflow_uri,
                "run_id": self.run_id,
                "trigger": self.trigger,
                "threads": self.threads,
                "code_version": self.code_version,
                **({"approval": asdict(self.approval)} if self.approval else {}),
            }
        )

    @classmethod
    def from_json(cls, data: bytes, *, sha256: str | None = None) -> Plan:
        """Read a published plan.

        Raises:
            IntegrityError: The bytes are not the ones that were published, or no plan of this version.
        """
        if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
            raise IntegrityError(
                f"the plan's bytes do not have the digest {sha256}.", hint="clear the run's first task"
            )
        try:
            raw = json.loads(data)
            if raw.pop("format", None) != PLAN_FORMAT:
                raise IntegrityError(
                    "the plan was written by another version of Nightshift.", hint="clear the run's first task"
                )
            start, end = (datetime.fromisoformat(bound) for bound in raw.pop("interval"))
            spec, answer = ModelSpec.model_validate(raw.pop("spec")), raw.pop("approval", None)
            return cls(spec=spec, interval=Interval(start, end), approval=answer and Approval(**answer), **raw)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise IntegrityError(f"the plan cannot be read: {error}", hint="clear the run's first task") from error


def package_version() -> str:
    """Digest of every source file of the package: what code a plan was made with."""
    found = files("nightshift").iterdir()
    return code_digest(tuple(sorted(part.name for part in found if part.name.endswith(".py") or part.is_dir())))

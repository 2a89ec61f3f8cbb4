"""What one run is about: its interval, its windows, its plan, and the keys that make its effects idempotent."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property, lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from typing import Any, Literal

from nightshift.errors import IntegrityError, NightSkipped, SpecError
from nightshift.spec.models import ModelSpec

DAY = timedelta(days=1)
PLAN_FORMAT = 1
# The longest window a spec can ask for still begins in year 1 or later.
FIRST_YEAR = 1900
Trigger = Literal["scheduled", "manual", "backfill", "asset", "test", "cli"]
STAGES = ("ingest", "validate", "preprocess", "train", "evaluate", "register", "deploy")

# Of spec/ only what shapes values: a better error message must not make every night of every model run again.
_SPEC = (
    "spec/base.py",
    "spec/data_checks.py",
    "spec/label_rule.py",
    "spec/models.py",
    "spec/transform_kinds.py",
    "spec/values.py",
)
_LIBRARY = ("errors.py", "plan.py", "settings.py", *_SPEC, "storage")
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
SPEC_OF_STAGE: dict[str, tuple[str, ...]] = {
    "ingest": ("source", "tables", "key", "label", "quarantine", "window"),
    "validate": ("source", "key", "expectations", "quarantine", "volume", "data_checks", "label", "features", "window"),
    "preprocess": ("source", "key", "tables", "prepare_sql", "data_checks", "label", "features", "window", "gates"),
    "train": ("key", "label", "features", "training", "window"),
    "evaluate": ("key", "label", "features", "training", "gates", "window"),
    "register": ("owner", "description", "key", "label", "training", "gates", "window", "approval"),
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


@dataclass(frozen=True, order=True)
class Interval:
    """Half-open time range ``[start, end)`` in UTC.

    Attributes:
        start: Its first moment; any time zone is taken and turned into UTC.
        end: The first moment after it.

    Raises:
        ValueError: A bound is naive or the range is empty.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", _in_utc(self.start))
        object.__setattr__(self, "end", _in_utc(self.end))
        if self.start >= self.end:
            raise ValueError(f"the interval [{self.start.isoformat()}, {self.end.isoformat()}) is empty")

    @classmethod
    def of_day(cls, day: date) -> Interval:
        start = datetime.combine(day, time(), tzinfo=UTC)
        return cls(start, start + DAY)

    @classmethod
    def of_key(cls, key: str) -> Interval:
        """The interval that ``key`` names. Raises ValueError: It names none."""
        start, _, end = key.partition("--")
        if not end:
            return cls.of_day(date.fromisoformat(start))
        return cls(*(datetime.strptime(bound, "%Y%m%dT%H%M%S%z") for bound in (start, end)))

    @property
    def key(self) -> str:
        """Name in storage: ``2013-07-14`` for one UTC day, else both bounds."""
        if self.end - self.start == DAY and self.start.time() == time():
            return self.start.date().isoformat()
        return f"{self.start:%Y%m%dT%H%M%SZ}--{self.end:%Y%m%dT%H%M%SZ}"

    @property
    def night(self) -> date:
        """The date on which a run for this interval happens: the day after its last."""
        return self.end.date()

    def days(self) -> Iterator[Interval]:
        """The UTC days that lie wholly inside, oldest first."""
        day = self.start if self.start.time() == time() else datetime.combine(self.start.date() + DAY, time(), UTC)
        while day + DAY <= self.end:
            yield Interval(day, day + DAY)
            day += DAY

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment < self.end

    def __str__(self) -> str:
        return f"[{self.start:%Y-%m-%dT%H:%MZ}, {self.end:%Y-%m-%dT%H:%MZ})"


def _in_utc(moment: datetime) -> datetime:
    """Raises ValueError: The moment is naive; Python would take it for local time."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no time zone; write for example {moment.isoformat()}+00:00")
    return moment.astimezone(UTC)


def resolve_interval(
    *,
    now: datetime,
    data_interval_end: datetime | None = None,
    night: str | date | None = None,
    until: datetime | None = None,
) -> Interval:
    """The interval of a run: the last complete UTC day before the moment the run stands for.

    That moment is the midnight of ``night`` when one is asked for, else ``data_interval_end`` (scheduled,
    backfill and ``dags test`` runs have one), else ``now`` (asset-triggered runs and runs with a null
    logical date have none). A run at 2013-07-15T02:00Z, ``dags test X 2013-07-15`` and
    ``night=2013-07-15`` all mean ``[2013-07-14, 2013-07-15)``.

    Args:
        now: The moment it is, with a time zone.
        data_interval_end: End of the run's data interval, in any time zone, if Airflow gave it one.
        night: The night that was asked for by hand.
        until: First UTC day the source no longer has.

    Raises:
        SpecError: ``night`` is not a date, or the night has not come yet.
        NightSkipped: The source has no data any more (``until``).
        ValueError: A moment is naive.
    """
    today = datetime.combine(_in_utc(now).date(), time(), UTC)
    if night is not None:
        end = datetime.combine(_parse_night(night), time(), UTC)
    else:
        end = datetime.combine(_in_utc(data_interval_end or now).date(), time(), UTC)
    if end.year < FIRST_YEAR:
        raise SpecError(f"night {end.date()} is before {FIRST_YEAR}.", hint="write it as YYYY-MM-DD")
    if end > today:
        raise SpecError(
            f"night {end.date()} has not come yet; its data is [{(end - DAY).date()}, {end.date()}).",
            hint=f"the newest night is {today.date()}",
        )
    interval = Interval(end - DAY, end)
    if until is not None and interval.start >= until:
        raise NightSkipped(
            f"night {interval.night}: the source ends at {until.date()} (source.until); {interval} has no data."
        )
    return interval


def _parse_night(night: str | date) -> date:
    if isinstance(night, datetime):
        return _in_utc(night).date()
    if isinstance(night, date):
        return night
    try:
        return date.fromisoformat(night.strip())
    except ValueError:
        raise SpecError(f"night is {night!r}, which is not a date.", hint="write it as YYYY-MM-DD") from None


@dataclass(frozen=True)
class Windows:
    """What a night may look at, by its clock: only rows whose labels are known.

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
        known = interval.end - spec.label.delay
        known = datetime.combine(known.date(), time(), UTC)
        split = known - spec.window.holdout
        first = split - spec.window.train
        return cls(
            train=Interval(first, split),
            holdout=Interval(split, known),
            ingest=Interval(first, max(interval.end, known)),
        )


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

    def stage_key(self, stage: str, inputs: Mapping[str, str]) -> str:
        """Key of a stage's result: same key, same published result.

        Args:
            stage: Name of the stage.
            inputs: Content digests of what the stage reads, by name.
        """
        spec = self.spec.model_dump(mode="json")
        return digest_of(
            {
                "model": self.model,
                "interval": self.interval.key,
                "stage": stage,
                "spec": {section: spec[section] for section in SPEC_OF_STAGE[stage]},
                "code": code_digest(CODE_OF_STAGE[stage]),
                "inputs": dict(inputs),
                "threads": self.threads if stage == "train" else None,
                "libraries": library_versions(LIBRARIES_OF_STAGE[stage]),
            }
        )

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

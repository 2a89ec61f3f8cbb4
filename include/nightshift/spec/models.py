"""What a model spec may say. Frozen pydantic models; unknown keys are refused.

Only keys that something enforces are here: a key that is accepted and then ignored would be a lie.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, field_validator, model_validator

DURATION = re.compile(r"(\d+)\s*([dh])")


def parse_duration(value: Any) -> timedelta:
    """``60d`` or ``36h`` as a timedelta."""
    if isinstance(value, timedelta):
        return value
    match = DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("must be a duration such as 60d or 36h")
    amount = int(match[1])
    return timedelta(days=amount) if match[2] == "d" else timedelta(hours=amount)


def format_duration(value: timedelta) -> str:
    hours = int(value.total_seconds() // 3600)
    return f"{hours // 24}d" if hours % 24 == 0 else f"{hours}h"


def parse_utc_day(value: Any) -> datetime:
    """A date, or a UTC midnight, as an aware datetime."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        moment = value if value.tzinfo else value.replace(tzinfo=UTC)
    elif isinstance(value, date):
        moment = datetime(value.year, value.month, value.day, tzinfo=UTC)
    else:
        raise ValueError("must be a date such as 2014-01-01")
    moment = moment.astimezone(UTC)
    if moment.time() != datetime.min.time():
        raise ValueError("must be a whole UTC day such as 2014-01-01")
    return moment


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    Field(json_schema_extra={"type": "string", "pattern": r"^\d+\s*[dh]$"}),
]
UtcDay = Annotated[
    datetime,
    BeforeValidator(parse_utc_day),
    PlainSerializer(lambda moment: moment.date().isoformat(), return_type=str),
]
Column = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]
TableName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
FileFormat = Literal["csv", "parquet"]


class SpecModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class PackageTable(SpecModel):
    """A data file inside an installed Python package, found without importing the package."""

    kind: Literal["package"]
    package: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.]*$")]
    """Import name of the package."""
    file: Annotated[str, Field(min_length=1)]
    """Path of the file inside the package: .csv, .csv.gz, .csv.zip or .parquet."""
    format: FileFormat | None = None
    """csv or parquet; taken from the file's name when not given."""


class FilesTable(SpecModel):
    """Files on local disk or an object store."""

    kind: Literal["files"]
    uri: Annotated[str, Field(min_length=1)]
    """Path or URI with * and ? globs, and for a source also strftime codes of the day: data/%Y-%m-%d/*.csv.gz."""
    format: FileFormat | None = None
    """csv or parquet; taken from the file's name when not given."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    """Field separator of csv files."""


class Span(SpecModel):
    time: Column
    """Column with the moment a row belongs to; text without a zone is read as UTC."""
    since: UtcDay | None = None
    """First UTC day the source has; earlier days are not expected."""
    until: UtcDay | None = None
    """First UTC day the source no longer has; later nights end skipped."""


class PackageSource(PackageTable, Span):
    pass


class FilesSource(FilesTable, Span):
    pass


Source = Annotated[PackageSource | FilesSource, Field(discriminator="kind")]
Table = Annotated[PackageTable | FilesTable, Field(discriminator="kind")]


class Expectation(SpecModel):
    """One row of `expectations`: exactly one check. Great Expectations runs it."""

    column: Column | None = None
    """Column the check is about."""
    between: tuple[float | None, float | None] | None = None
    """Smallest and largest allowed value, both included; null leaves a side open."""
    in_set: tuple[str | int | float | bool, ...] | None = None
    """The allowed values."""
    not_null: Literal[True] | None = None
    """The column must have a value."""
    matches: str | None = None
    """Regular expression that a text value must match."""
    expect: Annotated[str, Field(pattern=r"^expect_[a-z_]+$")] | None = None
    """Any other expectation of Great Expectations by its own name."""
    kwargs: dict[str, Any] = {}
    """Arguments for `expect`."""
    mostly: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of rows that must pass; rows that fail are quarantined either way."""

    @model_validator(mode="after")
    def _exactly_one_check(self) -> Expectation:
        checks = [
            name for name in ("between", "in_set", "not_null", "matches", "expect") if getattr(self, name) is not None
        ]
        if len(checks) != 1:
            raise ValueError(
                f"needs exactly one of between, in_set, not_null, matches, expect; has {', '.join(checks) or 'none'}"
            )
        if checks[0] != "expect" and self.column is None:
            raise ValueError(f"{checks[0]} needs a column")
        if checks[0] != "expect" and self.kwargs:
            raise ValueError("kwargs belong to expect")
        return self


class Quarantine(SpecModel):
    max_fraction: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Largest share of a day's rows that may be set aside; above it the night fails."""


class Volume(SpecModel):
    minimum: Annotated[int, Field(ge=1)] = 1
    """Fewest rows of a day."""
    versus_trailing: tuple[float, float] = (0.3, 3.0)
    """Smallest and largest ratio to the median of the trailing days."""
    trailing_days: Annotated[int, Field(ge=3)] = 14
    """How many days before it a day is compared with; needs at least 3 of them."""


class Label(SpecModel):
    column: Column
    """Column that holds the outcome. A null is unlabelled, never a negative."""
    positive: Annotated[str, Field(pattern=r"^(>=|<=|>|<|==|!=)\s*\S.*$")]
    """Which values are the positive class: an operator and a value, such as ">= 15" or "== yes"."""
    delay: Duration = timedelta(0)
    """How long after the end of a day its labels are known."""


class ImputeTransform(SpecModel):
    kind: Literal["impute"]
    strategy: Literal["median", "mean", "constant"] = "median"
    value: float | None = None
    """The constant, for strategy constant."""


class ClipTransform(SpecModel):
    kind: Literal["clip"]
    quantiles: tuple[float, float] | None = None
    """Bounds as exact quantiles of the training window."""
    bounds: tuple[float, float] | None = None
    """Bounds as values."""


class ScaleTransform(SpecModel):
    kind: Literal["scale"]


class LogTransform(SpecModel):
    kind: Literal["log"]


class BucketizeTransform(SpecModel):
    kind: Literal["bucketize"]
    edges: Annotated[tuple[float, ...], Field(min_length=1)]
    """Inner edges, ascending; a value at an edge belongs to the bucket above."""


class IndexTransform(SpecModel):
    kind: Literal["index"]
    max_levels: Annotated[int, Field(ge=1)] = 200


class OneHotTransform(SpecModel):
    kind: Literal["one_hot"]
    max_levels: Annotated[int, Field(ge=1)] = 200
    """Most frequent levels of the training window that get a column; others are all zeros."""


Transform = Annotated[
    ImputeTransform
    | ClipTransform
    | ScaleTransform
    | LogTransform
    | BucketizeTransform
    | IndexTransform
    | OneHotTransform,
    Field(discriminator="kind"),
]


class Features(SpecModel):
    numeric: tuple[Column, ...] = ()
    """Numeric request columns; nulls reach the model as missing."""
    categorical: tuple[Column, ...] = ()
    """Text request columns."""
    forbidden: tuple[Column, ...] = ()
    """Columns that are known only after the prediction moment; neither features nor prepare may use them."""
    transforms: dict[Column, tuple[Transform, ...]] = {}
    """Declared transforms by column, in order; default: none for numeric, one_hot for categorical."""

    @model_validator(mode="after")
    def _consistent(self) -> Features:
        columns = [*self.numeric, *self.categorical]
        if not columns:
            raise ValueError("needs at least one numeric or categorical column")
        twice = sorted({name for name in columns if columns.count(name) > 1})
        if twice:
            raise ValueError(f"lists {', '.join(twice)} more than once")
        unknown = sorted(set(self.transforms) - set(columns))
        if unknown:
            raise ValueError(f"transforms names {', '.join(unknown)}, which is not a feature")
        leaked = sorted(set(columns) & set(self.forbidden))
        if leaked:
            raise ValueError(f"lists {', '.join(leaked)} both as a feature and as forbidden")
        for name, steps in self.transforms.items():
            encoders = [step.kind for step in steps if step.kind in ("index", "one_hot")]
            if name in self.categorical and [step.kind for step in steps] not in (["index"], ["one_hot"]):
                raise ValueError(f"transforms of the categorical column {name} must be one of index, one_hot")
            if name in self.numeric and encoders:
                raise ValueError(f"transforms of the numeric column {name} cannot be {encoders[0]}")
        return self


class Window(SpecModel):
    train: Duration
    """Length of the training window, whole days."""
    holdout: Duration
    """Length of the holdout that follows it, whole days."""

    @field_validator("train", "holdout")
    @classmethod
    def _whole_days(cls, value: timedelta) -> timedelta:
        if value < timedelta(days=1) or value % timedelta(days=1):
            raise ValueError("must be one or more whole days, such as 60d")
        return value


class Training(SpecModel):
    engine: Literal["xgboost"]
    """Training engine."""
    params: dict[str, int | float | str | bool] = {}
    """The engine's own parameters; for xgboost also n_estimators, the number of trees."""
    seed: int = 0
    """Seed of everything random."""
    threshold: Annotated[float, Field(gt=0, lt=1)] | Literal["max_f1"] = "max_f1"
    """Probability from which a row is called positive; max_f1 picks it on the training window."""


class VersusChampion(SpecModel):
    margin: Annotated[float, Field(ge=0, lt=1)] = 0.005
    """How much worse than the champion the challenger may be, in units of the metric."""


class Gates(SpecModel):
    metric: Literal["roc_auc"] = "roc_auc"
    """The metric that decides."""
    minimum: Annotated[float, Field(ge=0, le=1)]
    """Floor: below it nothing ships."""
    versus_champion: VersusChampion = VersusChampion()
    """Comparison with the champion on the same holdout rows."""
    slices: tuple[Column, ...] = ()
    """Columns whose values are reported as slices of the holdout."""


class Deploy(SpecModel):
    target: Literal["local"] = "local"
    """Where the model serves."""


class Compute(SpecModel):
    target: Literal["local"] = "local"
    """Where jobs run."""


class Notify(SpecModel):
    connection: Annotated[str, Field(min_length=1)]
    """Airflow connection id of a webhook (HTTP POST of JSON); holds host, path and secrets."""


class ModelSpec(SpecModel):
    """One model: where its data is, what it learns, what it must prove before it ships."""

    version: Literal[1]
    """Version of the spec format."""
    model: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
    """Name of the model; also the file's name."""
    description: str = ""
    """What the model predicts and when it is asked; shown in the Airflow UI."""
    owner: Annotated[str, Field(min_length=1)]
    """Who answers for the model."""
    tags: tuple[str, ...] = ()
    """Extra tags in the Airflow UI."""
    schedule: str | None = None
    """Cron in UTC; null means only by hand."""
    source: Source
    """The rows to learn from."""
    key: Annotated[tuple[Column, ...], Field(min_length=1)]
    """Columns that make a row a row."""
    tables: dict[TableName, Table] = {}
    """Side inputs, read whole; prepare can join them."""
    prepare: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+\.sql$")]
    """File beside the spec with one Spark SQL SELECT from `source` and the tables."""
    prepare_sql: str = Field(default="", json_schema_extra={"readOnly": True})
    """The text of that file; filled in by the loader, never written in the YAML."""
    expectations: tuple[Expectation, ...] = ()
    """What must hold for the raw rows of a day."""
    quarantine: Quarantine = Quarantine()
    """How many rows may be set aside."""
    volume: Volume = Volume()
    """How many rows a day may have."""
    label: Label
    """What is learned."""
    features: Features
    """What it is learned from: columns of prepare's result."""
    window: Window
    """How much history a night uses."""
    training: Training
    """How it is learned."""
    gates: Gates
    """What it must prove."""
    deploy: Deploy = Deploy()
    """Where it serves."""
    compute: Compute = Compute()
    """Where jobs run."""
    notify: Notify | None = None
    """Who hears of failures and refusals."""
    retries: Annotated[int, Field(ge=0, le=10)] = 2
    """How often a stage is tried again after an infrastructure error."""

    @model_validator(mode="after")
    def _coherent(self) -> ModelSpec:
        if "source" in self.tables:
            raise ValueError("tables cannot contain the name source, which is the model's own rows")
        if self.label.column in (*self.features.numeric, *self.features.categorical):
            raise ValueError(f"label.column {self.label.column} is also a feature")
        return self

    @field_validator("schedule")
    @classmethod
    def _cron(cls, value: str | None) -> str | None:
        from croniter import croniter

        if value is not None and (len(value.split()) != 5 or not croniter.is_valid(value)):
            raise ValueError('must be a cron expression of five fields, such as "0 2 * * *"')
        return value

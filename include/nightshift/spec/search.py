"""The section ``training.search``: which parameters and engines are tried, how often, and how each try is judged."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, WithJsonSchema, field_validator, model_validator

from nightshift.spec import engines, search_rules
from nightshift.spec.base import SpecModel
from nightshift.spec.parameters import Value
from nightshift.spec.problem import reject


class Range(SpecModel):
    """Values of one parameter: numbers from ``low`` to ``high``, or ``choices``; one choice is a constant."""

    low: int | float | None = None
    high: int | float | None = None
    log: bool = False
    step: int | float | None = None
    choices: tuple[int | float | str | bool, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _written(cls, value: Any) -> Any:
        return value if isinstance(value, Range) else search_rules.read_range(value)

    @property
    def ends(self) -> tuple[Value, ...]:
        """Every choice; of a range, both ends."""
        if self.low is None or self.high is None:
            return self.choices
        return (self.low, self.high)

    @property
    def is_constant(self) -> bool:
        return len(self.ends) == 1


_NUMBER = {"type": "number"}
_SCALAR = {"type": ["number", "string", "boolean"]}
Space = Annotated[
    Range,
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": _NUMBER, "minItems": 2, "maxItems": 2},
                {
                    "type": "object",
                    "properties": {
                        "low": {**_NUMBER, "description": "Smallest value."},
                        "high": {**_NUMBER, "description": "Largest value."},
                        "log": {"type": "boolean", "description": "Small values as often as large ones."},
                        "step": {**_NUMBER, "description": "Distance of two neighbouring values."},
                    },
                    "required": ["low", "high"],
                    "additionalProperties": False,
                },
                {
                    "type": "object",
                    "properties": {
                        "choices": {"type": "array", "items": _SCALAR, "minItems": 1, "description": "The values."}
                    },
                    "required": ["choices"],
                    "additionalProperties": False,
                },
                _SCALAR,
            ]
        }
    ),
]


class EngineSpace(SpecModel):
    """Another engine in the same study, with parameters of its own."""

    engine: Annotated[str, WithJsonSchema({"type": "string", "enum": list(engines.PARAMS)})] = Field(
        examples=["xgboost"]
    )
    """Training engine."""
    params: dict[str, Space] = {}
    """Its parameters: ranges and choices as in search.params, or one value; nothing is taken from training.params."""

    @field_validator("engine")
    @classmethod
    def _known(cls, value: str) -> str:
        reject(search_rules.engine(value))
        return value


class Search(SpecModel):
    """The best parameters and engine are looked for on folds of the training window; the holdout takes no part."""

    trials: Annotated[int, Field(ge=1, le=search_rules.MOST_TRIALS, examples=[30])] | None = None
    """How many points are tried: the same ones for the same seed. Either this or minutes."""
    minutes: Annotated[float, Field(gt=0, le=search_rules.MOST_MINUTES, examples=[10])] | None = None
    """After so many minutes no trial begins any more; how many there were depends on the machine."""
    folds: Annotated[int, Field(ge=1, le=search_rules.MOST_FOLDS)] = 3
    """Periods at the end of the training window on which a trial is judged, each learned from what is before it."""
    params: dict[str, Space] = {}
    """What is searched of training.engine: [low, high], {low, high, log, step} or {choices: [...]}."""
    engines: tuple[EngineSpace, ...] = ()
    """Other engines in the same study."""
    parallel: Annotated[int, Field(ge=1, le=search_rules.MOST_AT_ONCE)] = 1
    """Trials at once; they share the threads of the job, or are tasks of Spark where a cluster runs the job."""
    prune: bool = True
    """Whether a trial ends early that is worse on its first folds than half of the others were."""

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        reject(search_rules.search(self))
        return self

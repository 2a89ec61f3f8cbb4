"""The section ``compute``: where jobs run, and what the EMR cluster of a night is made of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from nightshift.spec.base import SpecModel
from nightshift.spec.problem import Problem, reject
from nightshift.spec.values import Duration

FEWEST_SPOT_TYPES = 5
CORES_OF_A_UNIT = 4
MOST_TYPES = 30  # of one instance fleet, where an allocation strategy is given
INSTANCE_TYPE = re.compile(r"([a-z]+\d+)([a-z]*)\.(\d*)xlarge")
TYPE_WORDS = "an instance type such as m5.xlarge or m6i.2xlarge; EMR takes nothing smaller than xlarge"
RELEASE_WORDS = "a release of EMR's line for Spark 4, such as emr-spark-8.1.0"
ALIKE = ("m5.xlarge", "m5a.xlarge", "m6i.xlarge", "m6a.xlarge")

ReleaseLabel = Annotated[
    str, Field(pattern=r"^emr-spark-8\.\d{1,2}\.\d{1,2}$", json_schema_extra={"patternErrorMessage": RELEASE_WORDS})
]
InstanceType = Annotated[
    str,
    Field(pattern=r"^[a-z]+[0-9]+[a-z]*\.[0-9]*xlarge$", json_schema_extra={"patternErrorMessage": TYPE_WORDS}),
]
InstanceTypes = Annotated[tuple[InstanceType, ...], Field(min_length=1, max_length=MOST_TYPES)]


def units_of(instance_type: str) -> int:
    """How many units one instance counts for: its virtual processors by four."""
    match = INSTANCE_TYPE.fullmatch(instance_type)
    assert match is not None, "the spec checks the form"
    return int(match[3] or 1)


def _architecture(instance_type: str) -> str:
    match = INSTANCE_TYPE.fullmatch(instance_type)
    assert match is not None, "the spec checks the form"
    return "aarch64" if "g" in match[2] else "x86_64"


def _fleets(emr: Emr) -> Iterator[Problem]:
    fleets = {"primary": emr.primary, "core": emr.core, "spot": emr.spot}
    for name, types in fleets.items():
        for number, one in enumerate(types):
            if one in types[:number]:
                yield Problem(f"{one} is listed twice.", (name, number))
            elif _architecture(one) != emr.architecture:
                yield Problem(
                    f"{one} is {_architecture(one)}, and {emr.primary[0]} is {emr.architecture}.",
                    (name, number),
                    hint="one dependency archive serves all nodes: name types of one architecture",
                )
    if emr.spot_units and len(emr.spot) < FEWEST_SPOT_TYPES:
        yield Problem(
            f"{len(emr.spot)} instance types are too few for spot.",
            ("spot",),
            allowed=f"{FEWEST_SPOT_TYPES} or more",
            hint="the more there are, the seldomer a night loses its nodes; spot_units: 0 does without",
        )
    if emr.max_units < emr.core_units + emr.spot_units:
        yield Problem(
            f"max_units {emr.max_units} is less than core_units and spot_units together.",
            ("max_units",),
            allowed=f"{emr.core_units + emr.spot_units} or more",
        )
    # Without minutes nothing of the night would fit between creation and deadline.
    if not timedelta(hours=1) <= emr.deadline <= timedelta(days=7):
        yield Problem(f"a deadline of {emr.deadline} cannot be kept.", ("deadline",), allowed="from 1h to 7d")


def _only_for_emr(compute: Compute) -> Iterator[Problem]:
    if compute.target in ("local", "standalone") and "emr" in compute.model_fields_set:
        yield Problem(
            f"the target is {compute.target}, so nothing would look at this.",
            ("emr",),
            hint="write target: emr, or leave emr out",
            is_key=True,
        )


class Emr(SpecModel):
    """The EMR cluster of a night. One unit of capacity is four virtual processors: one m5.xlarge."""

    release_label: ReleaseLabel | None = None
    """EMR release, such as emr-spark-8.1.0; null: NIGHTSHIFT_EMR_RELEASE_LABEL says."""
    primary: InstanceTypes = ALIKE
    """Instance types of the primary node, where drivers run; one instance, on demand."""
    core: InstanceTypes = ALIKE
    """Instance types of the core nodes, on demand."""
    spot: InstanceTypes = (*ALIKE, "m5d.xlarge", "r5.xlarge")
    """Instance types of the task nodes, on spot: at least five, so that one that is scarce hurts little."""
    core_units: Annotated[int, Field(ge=1)] = 1
    """Units of core nodes, and the fewest that the cluster shrinks to."""
    spot_units: Annotated[int, Field(ge=0)] = 1
    """Units of task nodes to begin with; 0: none."""
    max_units: Annotated[int, Field(ge=1)] = 4
    """Most units of core and task nodes together that managed scaling may reach."""
    spot_wait_minutes: Annotated[int, Field(ge=5, le=1440)] = 10
    """How long to wait for spot instances before on-demand ones are taken instead."""
    disk_gib: Annotated[int, Field(ge=32, le=16384)] = 64
    """EBS volume of each node."""
    driver_memory: Annotated[str, Field(pattern=r"^[1-9][0-9]*[mg]$")] = "4g"
    """Memory of the driver's JVM on the primary node."""
    idle_minutes: Annotated[int, Field(ge=1, le=1440)] = 15
    """EMR ends the cluster by itself after so long without a step."""
    deadline: Duration = Field(default=timedelta(hours=8), json_schema_extra={"default": "8h"})
    """Age at which housekeeping ends the cluster, whatever it is doing."""
    stages: Literal["to_evaluate", "all"] | None = None
    """Which stages run there; all where Airflow's machines run no jobs; null: NIGHTSHIFT_EMR_STAGES says."""

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        reject(_fleets(self))
        return self

    @property
    def architecture(self) -> str:
        """Of all its nodes: ``x86_64`` or ``aarch64``, as ``uname`` calls them."""
        return _architecture(self.primary[0])


class Compute(SpecModel):
    """Where the jobs of a night run."""

    target: Literal["local", "standalone", "emr"] | None = None
    """Where jobs run: local, standalone (a Spark cluster) or emr (Amazon EMR); null: NIGHTSHIFT_COMPUTE says."""
    emr: Emr = Emr()
    """The cluster, where the target is emr."""

    @model_validator(mode="after")
    def _only_for_emr(self) -> Self:
        reject(_only_for_emr(self))
        return self

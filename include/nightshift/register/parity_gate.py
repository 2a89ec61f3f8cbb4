"""The graph against its origin: what the trained model said of the vectors that Spark made, row by row."""

from __future__ import annotations

import json
from dataclasses import dataclass

from nightshift.errors import ParityError
from nightshift.model.parity import Parity, compare
from nightshift.model.scores import REFERENCE, from_column
from nightshift.model.session import Scorer
from nightshift.stage import StageIO

TABLES = ("probe", "holdout")


@dataclass(frozen=True)
class ParityReport:
    """What was compared.

    Attributes:
        rows: Rows of probe set and holdout together.
        max_diff: Largest difference of a score.
        tables: The comparison of each table.
    """

    rows: int
    max_diff: float
    tables: dict[str, Parity]


def require_parity(io: StageIO, scorer: Scorer) -> ParityReport:
    """Compare the two on the probe set and on every row of the holdout.

    Args:
        io: With preprocess and train upstream.
        scorer: The loaded graph.

    Raises:
        ParityError: They disagree, or train did not score the same rows.
    """
    train, preprocess = io.given("train"), io.given("preprocess")
    about = json.loads(io.store.read(train, "model.json"))
    reference = from_column(io.store.read_table(train, "reference").column(REFERENCE))
    asked = {name: io.store.read_table(preprocess, name) for name in TABLES}
    if len(reference) != (rows := sum(map(len, asked.values()))):
        raise ParityError(f"{train.ref} scored {len(reference)} rows, but {preprocess.ref} has {rows} to compare.")
    tables, begin = {}, 0
    for name, table in asked.items():
        theirs = reference[begin : begin + len(table)]
        begin += len(table)
        found = compare(theirs, scorer.score(table), task=scorer.task, threshold=about["threshold"])
        tables[name] = found.require(f"the ONNX graph and the trained model, on the {name} rows of {preprocess.ref},")
    return ParityReport(
        rows=sum(parity.rows for parity in tables.values()),
        max_diff=max(parity.max_diff for parity in tables.values()),
        tables=tables,
    )

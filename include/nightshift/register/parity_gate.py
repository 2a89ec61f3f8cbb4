"""The graph against its origin: the booster on the vectors that Spark made, row by row."""

from __future__ import annotations

import json
from dataclasses import dataclass

from nightshift.model.booster import feature_matrix, load_booster, predict
from nightshift.model.parity import Parity, compare
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


def require_parity(io: StageIO, scorer: Scorer, *, threads: int) -> ParityReport:
    """Compare the two on the probe set and on every row of the holdout.

    Args:
        io: With preprocess and train upstream.
        scorer: The loaded graph.
        threads: Threads to use.

    Raises:
        ParityError: They disagree.
        ModelError: The booster cannot be read.
    """
    train, preprocess = io.given("train"), io.given("preprocess")
    about = json.loads(io.store.read(train, "model.json"))
    booster = load_booster(io.store.read(train, "booster.ubj"))
    tables = {}
    for name in TABLES:
        table = io.store.read_table(preprocess, name)
        vectors = feature_matrix(table.column("__features"), len(about["feature_names"]))
        reference = predict(booster, vectors, threads=threads)
        found = compare(reference, scorer.score(table), task=scorer.task, threshold=about["threshold"])
        tables[name] = found.require(f"the ONNX graph and the trained model, on the {name} rows of {preprocess.ref},")
    return ParityReport(
        rows=sum(parity.rows for parity in tables.values()),
        max_diff=max(parity.max_diff for parity in tables.values()),
        tables=tables,
    )

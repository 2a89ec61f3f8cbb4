"""The evaluate stage: scores, evidence, verdict."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nightshift.errors import ModelError
from nightshift.evaluate import baselines, metrics
from nightshift.evaluate.champion import Model, Opponent, compare_with, seen_after
from nightshift.evaluate.gate import Judgement, judge
from nightshift.ledger import Champion, Ledger
from nightshift.plan import Plan, canonical_json
from nightshift.stage import StageIO, StageResult, once
from nightshift.storage import Attempt, Manifest, Store

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

EVALUATION_FORMAT = 1
GOLDEN_ROWS = 50
INPUTS = ("preprocess", "train")


def run(plan: Plan, io: StageIO) -> StageResult:
    """Judge the night's challenger.

    Publishes ``evaluation.json`` with all evidence, the table ``scores`` (key, ``__label``, ``__challenger``,
    ``__champion``) and the table ``golden`` (request columns and ``__score``) that deploy reproduces.

    Returns:
        Status ``refused``, with the reason, if the gate finds the challenger unfit.

    Raises:
        DataError: The holdout has no rows or only one class.
        ModelError: A model gives scores that are no probabilities.
        IntegrityError: A stored model is not the one on record.
        StorageError: The store failed.
    """
    digest = io.given("train").file("graph.onnx").sha256
    champion = Ledger(io.store).champion_for(plan.interval, other_than=digest)

    def build(attempt: Attempt) -> Mapping[str, Any]:
        evaluation = _evaluate(plan, io, champion)
        judgement = evaluation.judgement
        log.info("%s, %s: %s", judgement.verdict, judgement.status, judgement.sentence)
        attempt.put("evaluation.json", canonical_json(_evidence(plan, io, evaluation)))
        attempt.put_table("scores", _scores_table(plan.spec.key, evaluation))
        probe = _read(io.store, io.given("preprocess"), "probe")
        attempt.put_table("golden", _golden(evaluation.model, probe, evaluation.holdout.table))
        return _summary(evaluation, champion)

    return once(
        plan,
        io,
        "evaluate",
        {name: io.upstream[name] for name in INPUTS},
        build,
        also={"champion": f"v{champion.model_version} {champion.model_digest}" if champion else "none"},
    )


@dataclass(frozen=True)
class Holdout:
    """The rows that judge.

    Attributes:
        table: Key, ``__time``, ``__label`` and the request columns.
        labels: 0 or 1, shape [rows].
        rows_left_out: Rows before the challenger's ``fitted_until``.
    """

    table: pa.Table
    labels: NDArray[np.integer[Any]]
    rows_left_out: int

    @classmethod
    def read(cls, store: Store, preprocess: Manifest, model: Model) -> Holdout:
        """Raises DataError: No rows, or one class."""
        table = _read(store, preprocess, "holdout")
        after = seen_after(table, model.fitted_until)
        kept = table if after.all() else table.filter(after)
        labels = kept.column("__label").to_numpy()
        metrics.require_labels(labels, of=f"the holdout of {preprocess.ref}")
        return cls(kept, labels, int((~after).sum()))


@dataclass(frozen=True)
class Evaluation:
    """Everything that was measured, and what the gate made of it.

    Attributes:
        model: The challenger.
        holdout: The rows that judge.
        scores: The challenger's scores of them, float64, shape [rows].
        challenger: Its metrics.
        baselines: Metrics of the baselines on the same rows.
        single: How the best single feature ranks them, shape [rows].
        opponent: The champion on the same rows, or None if there is none yet.
        judgement: The verdict.
    """

    model: Model
    holdout: Holdout
    scores: NDArray[np.floating[Any]]
    challenger: dict[str, Any]
    baselines: dict[str, Any]
    single: NDArray[np.floating[Any]]
    opponent: Opponent | None
    judgement: Judgement


def _evaluate(plan: Plan, io: StageIO, champion: Champion | None) -> Evaluation:
    train, gates = io.given("train"), plan.spec.gates
    model = Model.load(io.store, train, digest=train.file("graph.onnx").sha256, threads=plan.threads)
    holdout = Holdout.read(io.store, io.given("preprocess"), model)
    scores = metrics.require_scores(model.scorer.score(holdout.table), of="the challenger")
    challenger = metrics.metrics(holdout.labels, scores, model.threshold)
    found, single = _baselines(plan, io, holdout)
    opponent = None
    if champion is not None:
        opponent = compare_with(
            champion,
            io.store,
            holdout.table,
            scores,
            metric=gates.metric,
            threshold=model.threshold,
            threads=plan.threads,
        )
    judgement = judge(challenger, found["majority"], opponent.comparison if opponent else None, gates)
    return Evaluation(model, holdout, scores, challenger, found, single, opponent, judgement)


def _evidence(plan: Plan, io: StageIO, evaluation: Evaluation) -> dict[str, Any]:
    """The content of ``evaluation.json``."""
    holdout, scores, opponent = evaluation.holdout, evaluation.scores, evaluation.opponent
    theirs = opponent.scores if opponent else None
    return {
        "format": EVALUATION_FORMAT,
        "model": plan.model,
        "interval": [plan.interval.start.isoformat(), plan.interval.end.isoformat()],
        "metric": plan.spec.gates.metric,
        "holdout": _describe(plan, io, holdout),
        "challenger": {
            "digest": evaluation.model.digest,
            "train": str(io.upstream["train"]),
            "fitted_until": evaluation.model.fitted_until.isoformat(),
            "metrics": evaluation.challenger,
        },
        "champion": opponent.evidence if opponent else None,
        "baselines": evaluation.baselines,
        "roc": {
            **_by_model(metrics.roc_points, evaluation),
            "best_single_feature": metrics.roc_points(holdout.labels, evaluation.single),
        },
        "calibration": _by_model(metrics.calibration, evaluation),
        "histogram": metrics.histogram(holdout.labels, scores),
        "slices": metrics.slices(holdout.table, plan.spec.gates.slices, holdout.labels, scores, theirs),
        "importances": _importances(evaluation.model.about),
        **evaluation.judgement.to_dict(),
    }


def _read(store: Store, preprocess: Manifest, output: str) -> pa.Table:
    """A table without the transformed vectors, which only register needs."""
    columns = [name for name in preprocess.outputs[output].schema if name != "__features"]
    return store.read_table(preprocess, output, columns=columns)


def _baselines(plan: Plan, io: StageIO, holdout: Holdout) -> tuple[dict[str, Any], NDArray[np.floating[Any]]]:
    """Metrics of the baselines, and how the best single feature ranks the holdout."""
    features = plan.spec.features
    columns = ["__label", *features.numeric, *features.categorical]
    train = io.store.read_table(io.given("preprocess"), "train", columns=columns).to_pandas()
    rows = holdout.table.select(columns).to_pandas()
    single, ranking = baselines.best_single_feature(train, rows, features)
    majority = baselines.majority(train["__label"].to_numpy(), holdout.labels)
    return {"majority": majority, "best_single_feature": single}, ranking


def _describe(plan: Plan, io: StageIO, holdout: Holdout) -> dict[str, Any]:
    window = plan.windows.holdout
    return {
        "window": [window.start.isoformat(), window.end.isoformat()],
        "preprocess": str(io.upstream["preprocess"]),
        "digest": io.given("preprocess").outputs["holdout"].digest,
        "rows": len(holdout.labels),
        "positives": int(holdout.labels.sum()),
        "rows_left_out": holdout.rows_left_out,
    }


def _by_model(draw: Callable[[Any, Any], list[Any]], evaluation: Evaluation) -> dict[str, Any]:
    """One curve of the challenger, and of the champion where it has scores."""
    import numpy as np

    labels, opponent = evaluation.holdout.labels, evaluation.opponent
    curves: dict[str, Any] = {"challenger": draw(labels, evaluation.scores), "champion": None}
    if opponent is not None and opponent.scores is not None:
        shared = np.isfinite(opponent.scores)
        curves["champion"] = draw(labels[shared], opponent.scores[shared])
    return curves


def _importances(about: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Gain by feature, the largest first, and its share of all gain."""
    gains = about["importances"]
    total = sum(gains.values()) or 1.0
    ordered = sorted(gains.items(), key=lambda item: (-item[1], item[0]))
    return [
        {"feature": name, "gain": metrics.rounded(gain), "share": metrics.rounded(gain / total)}
        for name, gain in ordered
    ]


def _scores_table(key: tuple[str, ...], evaluation: Evaluation) -> pa.Table:
    import pyarrow as pa

    holdout, opponent = evaluation.holdout, evaluation.opponent
    ours = pa.array(evaluation.scores.astype("float32"))
    theirs = pa.nulls(len(ours), pa.float32())
    if opponent is not None and opponent.scores is not None:
        theirs = pa.array(opponent.scores.astype("float32"), from_pandas=True)
    table = holdout.table.select([*key, "__label"])
    return table.append_column("__challenger", ours).append_column("__champion", theirs)


def _golden(model: Model, probe: pa.Table, holdout: pa.Table) -> pa.Table:
    """At most 50 rows, half of them from the probe set if it has as many, evenly spaced, with their scores."""
    import numpy as np
    import pyarrow as pa

    columns = [name for name, _ in model.scorer.columns]
    from_probe = min(len(probe), GOLDEN_ROWS // 2)
    parts = []
    for table, count in ((probe, from_probe), (holdout, GOLDEN_ROWS - from_probe)):
        rows = np.unique(np.linspace(0, max(len(table) - 1, 0), min(count, len(table))).round().astype(int))
        parts.append(table.select(columns).take(pa.array(rows, pa.int64())))
    golden = pa.concat_tables(parts, promote_options="permissive").combine_chunks()
    scores = model.scorer.score(golden)
    if not np.isfinite(scores).all():
        raise ModelError(
            f"the challenger gives {scores[~np.isfinite(scores)][0]} for row "
            f"{int(np.flatnonzero(~np.isfinite(scores))[0])} of the golden rows (probe rows come first).",
            hint="an input at a boundary, or an unseen category, is not handled by the declared transforms",
        )
    return golden.append_column("__score", pa.array(scores))


def _summary(evaluation: Evaluation, champion: Champion | None) -> dict[str, Any]:
    opponent, judgement = evaluation.opponent, evaluation.judgement
    summary: dict[str, Any] = {
        "challenger": evaluation.challenger,
        "champion": opponent.evidence.get("metrics") if opponent else None,
        "champion_version": champion.model_version if champion else None,
        "difference": opponent.comparison.difference if opponent else None,
        "baselines": evaluation.baselines,
        "verdict": judgement.verdict,
        "sentence": judgement.sentence,
        "status": judgement.status,
    }
    return summary if judgement.reason is None else {**summary, "reason": judgement.reason}

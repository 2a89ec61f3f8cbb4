"""The evaluate stage: scores, evidence, verdict."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from nightshift.errors import ModelError
from nightshift.evaluate import explanations, metrics, slices
from nightshift.evaluate.champion import Arena, Model, Opponent, Rivals, rivals
from nightshift.evaluate.explanations import Explained
from nightshift.evaluate.gate import FairnessGap, Judgement, judge, share_promoted
from nightshift.evaluate.task import Judged, Task
from nightshift.evaluate.tasks import task_of
from nightshift.ledger import Ledger, blessings
from nightshift.ledger.blessings import WaivedBy
from nightshift.model.attributions import background_of
from nightshift.model.reach import in_card, unseen
from nightshift.model.scores import to_column
from nightshift.plan import Plan, canonical_json
from nightshift.stage import StageIO, StageResult, once
from nightshift.storage import Attempt, Manifest, Store
from nightshift.transforms import Transforms

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray

    Scores = NDArray[np.floating[Any]]

log = logging.getLogger(__name__)

EVALUATION_FORMAT = 2
GOLDEN_ROWS = 50
INPUTS = ("preprocess", "train")


def run(plan: Plan, io: StageIO) -> StageResult:
    """Judge the night's challenger.

    Publishes ``evaluation.json`` with all evidence, the quality blessing, the table ``scores`` (key, ``__label``,
    ``__challenger``, ``__champion``) and the table ``golden`` (request columns and ``__score``) that deploy reproduces.

    Returns:
        Status ``refused``, with the reason, if the gate finds the challenger unfit and nobody has waived that.

    Raises:
        DataError: The holdout has no rows, or only one class or value.
        ModelError: A model gives scores that no model gives that works.
        IntegrityError: A stored model is not the one on record.
        StorageError: The store failed.
    """
    digest = io.given("train").file("graph.onnx").sha256
    ledger = Ledger(io.store)
    met = rivals(ledger.entries(), plan.interval, digest)

    waiver = ledger.waiver("quality", plan.interval)

    def build(attempt: Attempt) -> Mapping[str, Any]:
        evaluation = _evaluate(plan, io, met)
        judgement = evaluation.judgement
        log.info("%s, %s: %s", judgement.verdict, judgement.status, judgement.sentence)
        blessing = _blessing(plan, evaluation, waiver)
        _put(attempt, plan, io, evaluation, blessing)
        summary = _summary(evaluation, plan.spec.gates.metric, blessing.waived_by)
        short = "" if waiver is None else waiver.shortfall(judgement.checks)
        return {**summary, "reason": f"{summary['reason']} {short}"} if short else summary

    return once(
        plan,
        io,
        "evaluate",
        {name: io.upstream[name] for name in INPUTS},
        build,
        also={"champion": met.key if met else "none", **({"waiver": waiver.key} if waiver else {})},
    )


@dataclass(frozen=True)
class Holdout:
    """The rows that judge.

    Attributes:
        table: Key, ``__time`` or ``__bucket``, ``__label`` and the request columns.
        labels: As of ``Judged``, shape [rows].
        rows_left_out: Rows that the challenger may have learned from.
    """

    table: pa.Table
    labels: NDArray[Any]
    rows_left_out: int

    @classmethod
    def read(cls, store: Store, preprocess: Manifest, model: Model, task: Task) -> Holdout:
        """Raises DataError: No rows, or one class or value."""
        table = _read(store, preprocess, "holdout")
        after = unseen(table, model.reach)
        kept = table if after.all() else table.filter(after)
        labels = kept.column("__label").to_numpy()
        task.require_labels(labels, of=f"the holdout of {preprocess.ref}")
        return cls(kept, labels, int((~after).sum()))


@dataclass(frozen=True)
class Evaluation:
    """Everything that was measured, and what the gate made of it.

    Attributes:
        model: The challenger.
        holdout: The rows that judge.
        task: Whose labels these are.
        scores: The challenger's scores of them, float64, as of ``Judged``.
        challenger: Its metrics.
        baselines: Metrics of the baselines on the same rows.
        single: What the best single feature says of them.
        opponent: The champion on the same rows, or None if there is none yet.
        fairness: What the groups of the declared attribute show; None if none is declared.
        explanation: Which columns the challenger goes by.
        judgement: The verdict.
    """

    model: Model
    holdout: Holdout
    task: Task
    scores: Scores
    challenger: dict[str, Any]
    baselines: dict[str, Any]
    single: Scores
    opponent: Opponent | None
    fairness: FairnessGap | None
    explanation: dict[str, Any]
    judgement: Judgement


def _evaluate(plan: Plan, io: StageIO, met: Rivals | None) -> Evaluation:
    train, gates = io.given("train"), plan.spec.gates
    model = Model.load(io.store, train, digest=train.file("graph.onnx").sha256, threads=plan.threads)
    task = task_of(plan.spec.label)
    holdout = Holdout.read(io.store, io.given("preprocess"), model, task)
    scores = task.require_scores(model.scorer.score(holdout.table), of="the challenger")
    challenger = task.measure(holdout.labels, scores, model.threshold)
    trained = _trained(plan, io)
    found, single = _baselines(plan, task, trained, holdout)
    opponent = None
    if met is not None:
        known = trained["__label"].to_numpy()
        judged = (holdout.table, scores, model.threshold, gates, task, known, model.reach)
        opponent = Arena(io.store, *judged, plan.interval, plan.threads).meet(met)
    gap = None
    if gates.fairness is not None:
        called = scores >= (0.5 if model.threshold is None else model.threshold)
        gap = slices.fairness_gap(holdout.table, holdout.labels, called, gates.fairness)
    told = _explain(io, model, Explained.of(holdout.table, holdout.labels, scores, task, gates), trained)
    judgement = judge(challenger, found, opponent.comparison if opponent else None, gates, fairness=gap)
    return Evaluation(model, holdout, task, scores, challenger, found, single, opponent, gap, told, judgement)


def _explain(io: StageIO, model: Model, about: Explained, trained: pd.DataFrame) -> dict[str, Any]:
    """Which columns the challenger goes by."""
    import pyarrow as pa

    graph = io.store.read(io.given("train"), "graph.onnx")
    places = Transforms.from_json(io.store.read(io.given("preprocess"), "transforms.json")).columns_of_features
    background = background_of(pa.Table.from_pandas(trained, preserve_index=False))
    return explanations.explain(graph, model.scorer, places, background, about)


def _put(attempt: Attempt, plan: Plan, io: StageIO, evaluation: Evaluation, blessing: blessings.Blessing) -> None:
    """All that is published."""
    waived = asdict(blessing.waived_by) if blessing.waived_by else None
    attempt.put(
        "evaluation.json",
        canonical_json(
            {**_evidence(plan, io, evaluation), **_told(evaluation.judgement, blessing.waived_by), "waived_by": waived}
        ),
    )
    blessings.write(attempt, blessing)
    attempt.put_table("scores", _scores_table(plan.spec.key, evaluation))
    probe = _read(io.store, io.given("preprocess"), "probe")
    attempt.put_table("golden", _golden(evaluation.model, probe, evaluation.holdout.table))


def _blessing(plan: Plan, evaluation: Evaluation, waiver: WaivedBy | None) -> blessings.Blessing:
    return blessings.Blessing.judged(
        "quality",
        evaluation.judgement.checks,
        interval=plan.interval.key,
        evidence="evaluation.json",
        about=evaluation.model.digest,
        waiver=waiver,
    )


def _evidence(plan: Plan, io: StageIO, evaluation: Evaluation) -> dict[str, Any]:
    """The content of ``evaluation.json``."""
    holdout, scores, opponent = evaluation.holdout, evaluation.scores, evaluation.opponent
    return {
        "format": EVALUATION_FORMAT,
        "model": plan.model,
        "interval": [plan.interval.start.isoformat(), plan.interval.end.isoformat()],
        "metric": plan.spec.gates.metric,
        "holdout": _describe(plan, io, evaluation),
        "challenger": {
            "digest": evaluation.model.digest,
            "train": str(io.upstream["train"]),
            **in_card(evaluation.model.reach),
            "metrics": evaluation.challenger,
        },
        "champion": {**opponent.evidence, **_gains(opponent, plan)} if opponent else None,
        "baselines": evaluation.baselines,
        **evaluation.task.drawings(Judged(holdout.labels, scores), _shared(evaluation), evaluation.single),
        "slices": _slices(plan, evaluation),
        "fairness": None if evaluation.fairness is None else asdict(evaluation.fairness),
        "importances": _importances(evaluation.model.about),
        "explanation": evaluation.explanation,
        **evaluation.judgement.to_dict(),
    }


def _gains(opponent: Opponent, plan: Plan) -> dict[str, Any]:
    """What the challenger gains, with intervals, and what such a night promises if nothing had changed."""
    gains = opponent.comparison.gains
    if gains is None:
        return {}
    gates = plan.spec.gates
    share, second = share_promoted(gains.deciding, gates), gates.decider.second
    return {
        "difference": gains.deciding.value,
        "unit": opponent.comparison.unit,
        "gains": {
            "deciding": gains.deciding.to_dict(),
            **({str(second): gains.second.to_dict()} if gains.second is not None else {}),
            "calibration": gains.calibration.to_dict(),
        },
        "expected_promotions_per_30": metrics.rounded(30 * share),
    }


def _shared(evaluation: Evaluation) -> Judged | None:
    """The champion on the rows that both are judged on."""
    opponent = evaluation.opponent
    if opponent is None or opponent.scores is None:
        return None
    shared = opponent.scored
    return Judged(evaluation.holdout.labels[shared], opponent.scores[shared])


def _slices(plan: Plan, evaluation: Evaluation) -> list[dict[str, Any]]:
    """Of the rows that both are judged on; of the whole holdout where there is no champion to compare."""
    holdout, opponent, theirs = evaluation.holdout, evaluation.opponent, _shared(evaluation)
    table, ours = holdout.table, Judged(holdout.labels, evaluation.scores)
    if opponent is not None and theirs is not None:
        table, ours = table.filter(opponent.scored), Judged(theirs.labels, evaluation.scores[opponent.scored])
    gains = opponent.comparison.gains if opponent else None
    metric = plan.spec.gates.decider
    return slices.described(
        slices.slices_of(table, plan.spec.gates.slices),
        ours,
        None if theirs is None else theirs.scores,
        gains.slices if gains else (),
        task=evaluation.task,
        metrics=[name for name in (metric.name, metric.second) if name is not None],
    )


def _read(store: Store, preprocess: Manifest, output: str) -> pa.Table:
    """A table without the transformed vectors, which only register needs."""
    columns = [name for name in preprocess.outputs[output].schema if name != "__features"]
    return store.read_table(preprocess, output, columns=columns)


def _trained(plan: Plan, io: StageIO) -> pd.DataFrame:
    """The features and labels of the training window."""
    features = plan.spec.features
    columns = ["__label", *features.numeric, *features.categorical]
    frame: pd.DataFrame = io.store.read_table(io.given("preprocess"), "train", columns=columns).to_pandas()
    return frame


def _baselines(plan: Plan, task: Task, trained: pd.DataFrame, holdout: Holdout) -> tuple[dict[str, Any], Scores]:
    """Metrics of the baselines, and what the best single feature says of the holdout."""
    rows, metric = holdout.table.select(list(trained.columns)).to_pandas(), plan.spec.gates.decider
    single = task.single_feature(trained, rows, plan.spec.features, metric.name)
    guess = task.guess(trained["__label"].to_numpy(), holdout.labels)
    return {"majority": guess, "best_single_feature": single.evidence}, single.answers


def _describe(plan: Plan, io: StageIO, evaluation: Evaluation) -> dict[str, Any]:
    window, holdout = plan.windows.holdout, evaluation.holdout
    return {
        "window": [window.start.isoformat(), window.end.isoformat()],
        "preprocess": str(io.upstream["preprocess"]),
        "digest": io.given("preprocess").outputs["holdout"].digest,
        "rows": len(holdout.labels),
        **evaluation.task.about(holdout.labels),
        "rows_left_out": holdout.rows_left_out,
    }


def _importances(about: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the engine says of each feature, the largest first, and its share of all; empty where it says nothing."""
    gains = about.get("importances", {})
    total = sum(gains.values()) or 1.0
    ordered = sorted(gains.items(), key=lambda item: (-item[1], item[0]))
    return [
        {"feature": name, "gain": metrics.rounded(gain), "share": metrics.rounded(gain / total)}
        for name, gain in ordered
    ]


def _scores_table(key: tuple[str, ...], evaluation: Evaluation) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    holdout, opponent = evaluation.holdout, evaluation.opponent
    ours = _nullable(to_column(evaluation.scores))
    theirs = pa.nulls(len(ours), ours.type)
    if opponent is not None and opponent.scores is not None:
        theirs = pc.if_else(pa.array(opponent.scored), _nullable(to_column(opponent.scores)), theirs)
    table = holdout.table.select([*key, "__label"])
    return table.append_column("__challenger", ours).append_column("__champion", theirs)


def _nullable(scores: pa.Array) -> pa.Array:
    """Lists without a fixed size: Parquet's reader does not take a null in the others."""
    import pyarrow as pa

    return scores.cast(pa.list_(pa.float32())) if pa.types.is_fixed_size_list(scores.type) else scores


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
    bad = np.flatnonzero(~np.isfinite(scores.reshape(len(golden), -1)).all(axis=1))
    if len(bad):
        raise ModelError(
            f"the challenger gives {scores[bad[0]]} for row {bad[0]} of the golden rows (probe rows come first).",
            hint="an input at a boundary, or an unseen category, is not handled by the declared transforms",
        )
    return golden.append_column("__score", to_column(scores))


def _summary(evaluation: Evaluation, metric: str, waived_by: WaivedBy | None) -> dict[str, Any]:
    opponent, judgement = evaluation.opponent, evaluation.judgement
    summary: dict[str, Any] = {
        "metric": metric,
        "challenger": evaluation.challenger,
        "champion": opponent.evidence.get("metrics") if opponent else None,
        "champion_version": opponent.comparison.champion_version if opponent else None,
        "difference": opponent.comparison.difference if opponent else None,
        "baselines": evaluation.baselines,
        "verdict": judgement.verdict,
        "status": judgement.status if waived_by is None else "succeeded",
        **({"refresh": True} if judgement.refresh else {}),
        **({"warnings": list(judgement.warnings)} if judgement.warnings else {}),
    }
    told = {key: value for key, value in _told(judgement, waived_by).items() if value is not None}
    return {**summary, **told, **({"waived_by": waived_by.by} if waived_by is not None else {})}


def _told(judgement: Judgement, waived_by: WaivedBy | None) -> dict[str, str | None]:
    """The outcome in a sentence, and why it was refused if it was: nobody stays in place by what was waived."""
    if waived_by is None:
        return {"sentence": judgement.sentence, "reason": judgement.reason}
    failed = " ".join(check.text for check in judgement.checks if not check.passed)
    return {
        "sentence": f"Waived by {waived_by.by}: {waived_by.reason.rstrip('.')}. What failed: {failed}",
        "reason": None,
    }

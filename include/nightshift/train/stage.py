"""The stage: hand the training window to an engine, build the graph from what it learned, publish."""

from __future__ import annotations

import hashlib
import logging
from typing import Any

from nightshift.model.graph import build_graph
from nightshift.model.reach import in_card, reach_of
from nightshift.model.scores import REFERENCE, to_column
from nightshift.plan import Plan, canonical_json
from nightshift.spec.spark_use import engines_of
from nightshift.stage import StageIO, StageResult, key_of, once
from nightshift.storage import Attempt, Manifest
from nightshift.train.acceptance import require_usable
from nightshift.train.checkpoints import Checkpoints
from nightshift.train.engines import engine_of
from nightshift.train.key_parts import key_parts
from nightshift.train.model_card import model_card
from nightshift.train.search import Found, search
from nightshift.train.search.records import forget
from nightshift.train.window import TABLE, TrainingWindow
from nightshift.train.workers import with_workers
from nightshift.transforms import Transforms

log = logging.getLogger(__name__)


def run(plan: Plan, io: StageIO) -> StageResult:
    """Train on what preprocess published and publish ``graph.onnx``, ``model.json`` and the library's own files.

    The table ``reference`` has what the library itself says of the rows of probe and holdout.

    Raises:
        DataError: The training window cannot be learned from, or every trial of a search failed.
        SpecError: The engine does not take the spec's parameters, cannot have as many workers, or is not here.
        JobError: Spark or a class of one's own failed; another try may succeed.
        ModelError: What was learned cannot be turned into a graph.
    """
    given = io.given("preprocess")
    transforms = Transforms.from_json(io.store.read(given, "transforms.json"))
    plan = with_workers(plan, rows=given.outputs[TABLE].rows, features=len(transforms.feature_names))
    inputs, also = {"preprocess": given.ref}, key_parts(plan)
    key = key_of(plan, "train", inputs, also=also)

    def build(attempt: Attempt) -> dict[str, Any]:
        return _train(plan, io, given, transforms, attempt, key=key)

    result = once(plan, io, "train", inputs, build, also=also)
    # What was kept for the case of a kill is of no more use.
    if "torch" in engines_of(plan.spec.training):
        Checkpoints.of(io.store, plan.interval.key, key).remove()
    if plan.spec.training.search is not None:
        forget(io.store, plan.interval.key, key)
    return result


def _train(
    plan: Plan, io: StageIO, given: Manifest, transforms: Transforms, attempt: Attempt, *, key: str
) -> dict[str, Any]:
    import pyarrow as pa

    window = TrainingWindow(
        store=io.store,
        given=given,
        width=len(transforms.feature_names),
        key=plan.spec.key,
        label=plan.spec.label,
        title=f"{plan.model} train {plan.interval.key}",
        root=plan.storage,
        scratch=io.scratch,
        checkpoints=Checkpoints.of(io.store, plan.interval.key, key),
    )
    found = _search(plan, window, attempt, key)
    training = plan.spec.training if found is None else found.training
    asked = window.asked()
    fitted = engine_of(training).fit(window, training, threads=plan.threads, asked=asked)
    fitted = require_usable(fitted, window, training, asked=len(asked))
    graph = build_graph(
        transforms,
        fitted.head,
        task=plan.spec.label.task,
        threshold=fitted.threshold,
        classes=plan.spec.label.classes,
    )
    digest = hashlib.sha256(graph).hexdigest()
    threshold = "" if fitted.threshold is None else f"threshold {fitted.threshold:.4f}, "
    log.info("train: %s in %.1f s, %smodel %s", fitted.size, fitted.seconds, threshold, digest[:12])

    for name, data in fitted.artifacts.items():
        attempt.put(name, data)
    attempt.put("graph.onnx", graph)
    attempt.put_table("reference", pa.table({REFERENCE: to_column(fitted.scores)}))
    reach = reach_of(plan, given.result.get("digested_columns"))
    card = model_card(plan, training, transforms, fitted, graph=digest, reach=reach)
    attempt.put("model.json", canonical_json({**card, **({} if found is None else {"search": found.card})}))
    return {
        "engine": training.engine,
        "task": plan.spec.label.task,
        "workers": training.worker_count,
        "size": fitted.size,
        "train_rows": window.rows,
        "features": window.width,
        **in_card(reach),
        "threshold": fitted.threshold,
        "model_digest": digest,
        "train_seconds": round(fitted.seconds, 3),
        **({} if found is None else {"search": str(found)}),
    }


def _search(plan: Plan, window: TrainingWindow, attempt: Attempt, key: str) -> Found | None:
    """The engine and parameters that did best on the folds; None where the spec asks for no search."""
    if plan.spec.training.search is None:
        return None
    found = search(plan, window, key)
    # With seconds in it; what it says besides is in the digest of model.json.
    attempt.put("search.json", canonical_json(found.evidence), incidental=True)
    return found

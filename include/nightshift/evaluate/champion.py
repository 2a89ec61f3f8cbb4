"""The challenger's opponent: loaded from storage by digest, scored on the same rows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from nightshift.errors import DataError, IntegrityError
from nightshift.evaluate.gate import Comparison
from nightshift.evaluate.metrics import metrics, require_scores
from nightshift.ledger import Champion
from nightshift.model.session import Scorer
from nightshift.storage import Manifest, Store

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Model:
    """A trained model as it lies in storage.

    Attributes:
        digest: sha256 of its graph.
        scorer: The loaded graph.
        about: ``model.json``.
    """

    digest: str
    scorer: Scorer
    about: dict[str, Any]

    @classmethod
    def load(cls, store: Store, train: Manifest, *, digest: str, threads: int) -> Model:
        """Raises IntegrityError: The stored graph is not the one with this digest."""
        stored = train.file("graph.onnx").sha256
        if stored != digest:
            raise IntegrityError(f"{train.ref} holds the graph {stored}, but {digest} is on record.")
        scorer = Scorer.load(store.read(train, "graph.onnx"), digest=digest, threads=threads)
        return cls(digest, scorer, json.loads(store.read(train, "model.json")))

    @property
    def fitted_until(self) -> datetime:
        """No row before this moment may judge the model: it may have learned from it."""
        return datetime.fromisoformat(self.about["fitted_until"])

    @property
    def threshold(self) -> float:
        import numpy as np

        return float(np.float32(self.about["threshold"]))


@dataclass(frozen=True)
class Opponent:
    """What the champion did on the challenger's rows.

    Attributes:
        evidence: For ``evaluation.json``: who it is, the metrics of both on the shared rows.
        comparison: What the gate needs.
        scores: The champion's scores, NaN for rows it may not be judged on; None if it cannot be scored.
    """

    evidence: dict[str, Any]
    comparison: Comparison
    scores: NDArray[np.floating[Any]] | None


def compare_with(
    champion: Champion,
    store: Store,
    holdout: pa.Table,
    challenger: NDArray[np.floating[Any]],
    *,
    metric: str,
    threshold: float,
    threads: int,
) -> Opponent:
    """Score the champion on the holdout and compare it on the rows that neither model may have learned from.

    Args:
        champion: Who it is.
        store: Where its graph lies.
        holdout: The rows the challenger is judged on.
        challenger: The challenger's scores of them, float64, shape [rows].
        metric: The metric that decides.
        threshold: The challenger's threshold.
        threads: Threads of one call.

    Raises:
        IntegrityError: The champion's stored graph is not the promoted one.
        ModelError: It gives scores that are no probabilities.
    """
    model = Model.load(store, store.resolve(champion.train), digest=champion.model_digest, threads=threads)
    evidence: dict[str, Any] = {
        "version": champion.model_version,
        "digest": champion.model_digest,
        "interval": champion.interval.key,
        "sequence": champion.sequence,
        "train": str(champion.train),
        "fitted_until": model.fitted_until.isoformat(),
    }
    obstacle, shared, scores = _score(model, champion, holdout)
    if obstacle is not None:
        comparison = Comparison(champion.model_version, int(shared.sum()), None, None, obstacle)
        return Opponent({**evidence, "obstacle": obstacle}, comparison, None)
    labels = holdout.column("__label").to_numpy()[shared]
    ours = metrics(labels, challenger[shared], threshold)
    theirs = metrics(labels, scores[shared], model.threshold)
    comparison = Comparison(champion.model_version, int(shared.sum()), ours[metric], theirs[metric])
    evidence |= {
        "metrics": theirs,
        "challenger_on_same_rows": ours,
        "rows": comparison.rows,
        "rows_left_out": int((~shared).sum()),
        "difference": comparison.difference,
    }
    return Opponent(evidence, comparison, scores)


def _score(
    model: Model, champion: Champion, holdout: pa.Table
) -> tuple[str | None, NDArray[np.bool_], NDArray[np.floating[Any]]]:
    """What keeps the champion from being compared, if anything; the shared rows; its scores."""
    import numpy as np

    shared = seen_after(holdout, model.fitted_until)
    labels = holdout.column("__label").to_numpy()[shared]
    scores = np.full(len(holdout), np.nan)
    if len(np.unique(labels)) < 2:
        what = "rows of both classes" if len(labels) else "rows"
        return f"no {what} lie after {model.fitted_until:%Y-%m-%d}, up to which it learned", shared, scores
    try:
        raw = model.scorer.score(holdout)
    except DataError as error:
        return f"it cannot score this holdout, because {error.message.rstrip('.')}", shared, scores
    scores[shared] = require_scores(raw, of=f"champion v{champion.model_version}")[shared]
    return None, shared, scores


def seen_after(table: pa.Table, moment: datetime) -> NDArray[np.bool_]:
    """Which rows lie at or after a moment, shape [rows]."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    times = table.column("__time").cast(pa.timestamp("us", tz="UTC"))
    after = pc.greater_equal(times, pa.scalar(moment, pa.timestamp("us", tz="UTC")))
    return np.asarray(after.to_numpy(), dtype=bool)

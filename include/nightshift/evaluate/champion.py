"""The challenger's opponents: loaded from storage by digest, scored on the same rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from nightshift.errors import DataError, IntegrityError, NightshiftError
from nightshift.evaluate.comparison import compare_scores, days_of, obstacle_to
from nightshift.evaluate.gate import Anchor, Comparison
from nightshift.evaluate.metrics import metrics, require_scores
from nightshift.evaluate.paired import auc_gain
from nightshift.ledger import Champion
from nightshift.model.session import Scorer
from nightshift.plan import Interval
from nightshift.spec.models import Gates
from nightshift.storage import Manifest, Store

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    Scores = NDArray[np.floating[Any]]

ANCHOR_AGE = timedelta(days=30)


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
class Rivals:
    """Whom a challenger meets.

    Attributes:
        champion: Whom it would replace.
        anchor: The champion of 30 days ago; None if there was none, or it is the champion still.
    """

    champion: Champion
    anchor: Champion | None

    @property
    def key(self) -> str:
        """What an evaluation depends on."""
        anchor = f" anchor {self.anchor.model_digest}" if self.anchor else ""
        return f"v{self.champion.model_version} {self.champion.model_digest}{anchor}"


def rivals(champion: Champion | None, champions: Sequence[Champion], interval: Interval) -> Rivals | None:
    """Whom a night's challenger meets, or None if there is no champion yet.

    Args:
        champion: Whom the ledger names for this interval.
        champions: Every promotion.
        interval: The night's.
    """
    if champion is None:
        return None
    old = [one for one in champions if one.interval.end <= interval.end - ANCHOR_AGE]
    anchor = max(old, key=lambda one: (one.interval.end, one.sequence), default=None)
    return Rivals(champion, None if anchor is None or anchor.model_digest == champion.model_digest else anchor)


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
    scores: Scores | None


@dataclass(frozen=True)
class Arena:
    """Where models are compared.

    Attributes:
        store: Where their graphs lie.
        holdout: The rows the challenger is judged on.
        challenger: Its scores of them, float64, shape [rows].
        threshold: The challenger's threshold.
        gates: The spec's section.
        interval: The night's.
        threads: Threads of one call.
    """

    store: Store
    holdout: pa.Table
    challenger: Scores
    threshold: float
    gates: Gates
    interval: Interval
    threads: int

    @property
    def labels(self) -> NDArray[np.integer[Any]]:
        labels: NDArray[np.integer[Any]] = self.holdout.column("__label").to_numpy()
        return labels

    def load(self, champion: Champion) -> Model:
        train = self.store.resolve(champion.train)
        return Model.load(self.store, train, digest=champion.model_digest, threads=self.threads)

    def meet(self, rivals: Rivals) -> Opponent:
        """Score the champion on the holdout and compare it on the rows that neither model may have learned from.

        Raises:
            IntegrityError: The champion's stored graph is not the promoted one.
            ModelError: It gives scores that are no probabilities.
        """
        champion = rivals.champion
        model = self.load(champion)
        age = self.interval.end - champion.interval.end
        shared = seen_after(self.holdout, model.fitted_until)
        evidence = {**_about(champion, model), "age_days": age.days}
        obstacle, scores = self._score(model, champion, shared)
        if obstacle is not None:
            comparison = Comparison(champion.model_version, int(shared.sum()), None, None, None, age, None, obstacle)
            return Opponent({**evidence, "obstacle": obstacle}, comparison, None)
        ours = metrics(self.labels[shared], self.challenger[shared], self.threshold)
        theirs = metrics(self.labels[shared], scores[shared], model.threshold)
        anchor = None if rivals.anchor is None else self._anchor(rivals.anchor, shared)
        comparison = compare_scores(
            self.holdout.filter(shared),
            self.challenger[shared],
            scores[shared],
            self.gates,
            version=champion.model_version,
            age=age,
            anchor=anchor,
        )
        evidence |= {
            "metrics": theirs,
            "challenger_on_same_rows": ours,
            "rows": comparison.rows,
            "rows_left_out": int((~shared).sum()),
            "anchor": None if rivals.anchor is None else _anchor_evidence(rivals.anchor, anchor),
        }
        return Opponent(evidence, comparison, scores)

    def _score(self, model: Model, champion: Champion, shared: NDArray[np.bool_]) -> tuple[str | None, Scores]:
        """What keeps the champion from being compared, if anything; its scores of the shared rows."""
        import numpy as np

        scores = np.full(len(self.holdout), np.nan)
        obstacle = obstacle_to(self.holdout.filter(shared), self.gates, fitted_until=model.fitted_until)
        if obstacle is not None:
            return obstacle, scores
        try:
            raw = model.scorer.score(self.holdout)
        except DataError as error:
            return f"it cannot score this holdout, because {error.message.rstrip('.')}", scores
        scores[shared] = require_scores(raw, of=f"champion v{champion.model_version}")[shared]
        return None, scores

    def _anchor(self, champion: Champion, shared: NDArray[np.bool_]) -> Anchor:
        """The same rows, less those that the anchor may have learned from; it never fails a night."""
        try:
            model = self.load(champion)
            kept = shared & seen_after(self.holdout, model.fitted_until)
            rows = self.holdout.filter(kept)
            obstacle = obstacle_to(rows, self.gates, fitted_until=model.fitted_until)
            if obstacle is not None:
                return Anchor(champion.model_version, None, obstacle)
            scores = require_scores(model.scorer.score(self.holdout), of=f"v{champion.model_version}")[kept]
        except NightshiftError as error:
            if error.retryable:
                raise
            return Anchor(champion.model_version, None, f"cannot be scored: {error.message.rstrip('.')}")
        confidence = self.gates.versus_champion.confidence
        gain = auc_gain(self.labels[kept], self.challenger[kept], scores, days_of(rows), confidence=confidence)
        return Anchor(champion.model_version, gain)


def _about(champion: Champion, model: Model) -> dict[str, Any]:
    return {
        "version": champion.model_version,
        "digest": champion.model_digest,
        "interval": champion.interval.key,
        "sequence": champion.sequence,
        "train": str(champion.train),
        "fitted_until": model.fitted_until.isoformat(),
    }


def _anchor_evidence(champion: Champion, anchor: Anchor | None) -> dict[str, Any]:
    gain = None if anchor is None or anchor.gain is None else anchor.gain.to_dict()
    obstacle = None if anchor is None else anchor.obstacle
    return {
        "version": champion.model_version,
        "digest": champion.model_digest,
        "interval": champion.interval.key,
        "gain": gain,
        "obstacle": obstacle,
    }


def seen_after(table: pa.Table, moment: datetime) -> NDArray[np.bool_]:
    """Which rows lie at or after a moment, shape [rows]."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    times = table.column("__time").cast(pa.timestamp("us", tz="UTC"))
    after = pc.greater_equal(times, pa.scalar(moment, pa.timestamp("us", tz="UTC")))
    return np.asarray(after.to_numpy(), dtype=bool)

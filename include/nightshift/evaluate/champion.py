"""The challenger's opponents: loaded from storage by digest, scored on the same rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from nightshift.errors import DataError, InfraCheckFailed, IntegrityError, NightshiftError
from nightshift.evaluate.comparison import compare_scores, days_of, obstacle_to
from nightshift.evaluate.gate import Anchor, Comparison
from nightshift.evaluate.task import Task
from nightshift.evaluate.tasks.multiclass import Multiclass
from nightshift.ledger import Champion, Entry, reigns
from nightshift.model.reach import Reach, in_card, incomparable, read_card, unseen
from nightshift.model.session import Scorer
from nightshift.plan import Interval
from nightshift.spec.gates import Gates
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
    def reach(self) -> Reach:
        """Only rows beyond it may judge the model: it may have learned from the others."""
        return read_card(self.about)

    @property
    def threshold(self) -> float | None:
        """Probability from which a row is positive; None where the label is not binary."""
        import numpy as np

        told = self.about.get("threshold")
        return None if told is None else float(np.float32(told))


@dataclass(frozen=True)
class Rivals:
    """Whom a challenger meets.

    Attributes:
        champion: Whom it would replace.
        anchor: See ``reigns.anchor``; None if there was none, or it is the champion still.
    """

    champion: Champion
    anchor: Champion | None

    @property
    def key(self) -> str:
        """What an evaluation depends on."""
        anchor = f" anchor {self.anchor.model_digest}" if self.anchor else ""
        return f"v{self.champion.model_version} {self.champion.model_digest}{anchor}"


def rivals(entries: Sequence[Entry], interval: Interval, digest: str) -> Rivals | None:
    """Whom a night's challenger meets, or None if there is no champion yet.

    Args:
        entries: The ledger.
        interval: The night's.
        digest: Of the challenger.
    """
    champion = reigns.opponent(entries, interval, digest)
    if champion is None:
        return None
    anchor = reigns.anchor(entries, interval, digest, age=ANCHOR_AGE)
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

    @property
    def scored(self) -> NDArray[np.bool_]:
        """Which rows it may be judged on, shape [rows]; none if it cannot be scored."""
        import numpy as np

        if self.scores is None:
            return np.zeros(0, dtype=bool)
        return np.asarray(np.isfinite(self.scores.reshape(len(self.scores), -1)).all(axis=1), dtype=bool)


@dataclass(frozen=True)
class Arena:
    """Where models are compared.

    Attributes:
        store: Where their graphs lie.
        holdout: The rows the challenger is judged on.
        challenger: Its scores of them, float64, as of ``Judged``.
        threshold: The challenger's threshold; None where the label is not binary.
        gates: The spec's section.
        task: Whose labels these are.
        trained: Labels of the challenger's training window.
        reach: The challenger's.
        interval: The night's.
        threads: Threads of one call.
    """

    store: Store
    holdout: pa.Table
    challenger: Scores
    threshold: float | None
    gates: Gates
    task: Task
    trained: NDArray[Any]
    reach: Reach
    interval: Interval
    threads: int

    @property
    def labels(self) -> NDArray[Any]:
        labels: NDArray[Any] = self.holdout.column("__label").to_numpy()
        return labels

    def load(self, champion: Champion) -> Model:
        train = self.store.resolve(champion.train)
        return Model.load(self.store, train, digest=champion.model_digest, threads=self.threads)

    def meet(self, rivals: Rivals) -> Opponent:
        """Score the champion on the holdout and compare it on the rows that neither model may have learned from.

        Raises:
            IntegrityError: The champion's stored graph is not the promoted one, or is gone.
            InfraCheckFailed: It is one that must not be loaded.
            ModelError: It gives scores that are no probabilities.
        """
        champion = rivals.champion
        model = self._load_champion(champion)
        age = self.interval.end - champion.interval.end
        shared = self._shared(model)
        evidence = {**_about(champion, model), "age_days": age.days}
        obstacle, scores = self._score(model, champion, shared)
        if obstacle is not None:
            comparison = Comparison(champion.model_version, int(shared.sum()), None, None, None, age, None, obstacle)
            return Opponent({**evidence, "obstacle": obstacle}, comparison, None)
        ours = self.task.measure(self.labels[shared], self.challenger[shared], self.threshold)
        theirs = self.task.measure(self.labels[shared], scores[shared], model.threshold)
        anchor = None if rivals.anchor is None else self._anchor(rivals.anchor, shared)
        comparison = compare_scores(
            self.holdout.filter(shared),
            self.challenger[shared],
            scores[shared],
            self.gates,
            self.task,
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

    def _load_champion(self, champion: Champion) -> Model:
        """The storage's own advice, to delete the version and make it again, is not for what the ledger names."""
        try:
            return self.load(champion)
        except (IntegrityError, InfraCheckFailed) as error:
            raise type(error)(
                f"champion v{champion.model_version} is damaged, and nothing can be compared with it: {error.message}",
                hint="go back to another version with nightshift rollback MODEL, or restore the file from a backup or "
                "an older object version; then run the night again",
            ) from error

    def _score(self, model: Model, champion: Champion, shared: NDArray[np.bool_]) -> tuple[str | None, Scores]:
        """What keeps the champion from being compared, if anything; its scores of the shared rows."""
        import numpy as np

        scores = np.full(self.challenger.shape, np.nan)
        obstacle = self._kinship(model) or self._obstacle(shared, model)
        if obstacle is not None:
            return obstacle, scores
        try:
            raw = model.scorer.score(self.holdout)
        except DataError as error:
            return f"it cannot score this holdout, because {error.message.rstrip('.')}", scores
        scores[shared] = self.task.require_scores(raw, of=f"champion v{champion.model_version}")[shared]
        return None, scores

    def _kinship(self, model: Model) -> str | None:
        """Why another model's scores mean something else, or None."""
        if model.scorer.task != self.task.name:
            return f"it was made for the task {model.scorer.task}, and the spec says {self.task.name}"
        classes = self.task.classes if isinstance(self.task, Multiclass) else ()
        if model.scorer.classes != classes:
            return f"it knows the classes {', '.join(model.scorer.classes)}, and the spec says {', '.join(classes)}"
        return incomparable(model.reach, self.reach)

    def _shared(self, model: Model) -> NDArray[np.bool_]:
        """Rows of the holdout that another model has not learned from, shape [rows]; none if nobody knows."""
        import numpy as np

        if incomparable(model.reach, self.reach) is not None:
            return np.zeros(len(self.holdout), dtype=bool)
        return unseen(self.holdout, model.reach)

    def _obstacle(self, kept: NDArray[np.bool_], model: Model) -> str | None:
        rows = self.holdout.filter(kept)
        return obstacle_to(rows, self.gates, self.task, trained=self.trained, fitted_until=model.reach)

    def _anchor(self, champion: Champion, shared: NDArray[np.bool_]) -> Anchor:
        """The same rows, less those that the anchor may have learned from; it never fails a night."""
        known_as = _known_as(champion, self.interval)
        try:
            model = self.load(champion)
            kept = shared & self._shared(model)
            rows = self.holdout.filter(kept)
            obstacle = self._kinship(model) or self._obstacle(kept, model)
            if obstacle is not None:
                return Anchor(champion.model_version, None, obstacle, known_as)
            scores = self.task.require_scores(model.scorer.score(self.holdout), of=f"v{champion.model_version}")[kept]
        except NightshiftError as error:
            if error.retryable:
                raise
            return Anchor(champion.model_version, None, f"cannot be scored: {error.message.rstrip('.')}", known_as)
        labels, confidence = self.labels[kept], self.gates.versus_champion.confidence
        metric, ours, days = self.gates.metric, self.challenger[kept], days_of(rows)
        gain = self.task.gain(metric, labels, ours, scores, days, confidence=confidence)
        return Anchor(champion.model_version, gain, known_as=known_as)


def _about(champion: Champion, model: Model) -> dict[str, Any]:
    return {
        "version": champion.model_version,
        "digest": champion.model_digest,
        "interval": champion.interval.key,
        "sequence": champion.sequence,
        "train": str(champion.train),
        **in_card(model.reach),
    }


def _known_as(anchor: Champion, interval: Interval) -> str:
    """Why slow decline is counted from this version, by the nights' clock."""
    days = (interval.end - anchor.interval.end).days
    if anchor.by_a_person and anchor.how == "promotion":
        return f"promoted by a person {days} day{'s' * (days != 1)} ago"
    return f"champion {ANCHOR_AGE.days} days ago"


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

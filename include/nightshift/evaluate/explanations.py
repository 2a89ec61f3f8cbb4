"""Which columns a model goes by: over a sample of the holdout, and on each slice that is large enough.

By SHAP where the model's graph lets it be computed; else by permutation: how much the metric that decides loses when a
column's values are dealt out anew among the rows. The rows are drawn with a fixed seed, so that the same night says
the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nightshift.evaluate.metrics import rounded
from nightshift.evaluate.slices import Slice, slices_of
from nightshift.evaluate.task import Task
from nightshift.model.attributions import SEED, Explainer, explainer_of
from nightshift.spec.gate_metrics import Metric
from nightshift.spec.gates import Gates

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from nightshift.model.session import Scorer

    Scores = NDArray[np.floating[Any]]
    Places = NDArray[np.integer[Any]]

ROWS, FEWEST_ROWS = 500, 50
SLICES, ROWS_OF_SLICE, FEWEST_OF_SLICE = 20, 50, 10
# Trees with more leaves than this in all are explained on fewer rows: one row takes longer.
LEAVES = 10_000
PERMUTED_ROWS, REPEATS = 5_000, 3


@dataclass(frozen=True)
class Explained:
    """What is explained.

    Attributes:
        table: The holdout.
        labels: As of ``Judged``, shape [rows].
        scores: The model's, likewise.
        slices: Of the holdout.
        task: Whose labels these are.
        metric: The one that decides.
    """

    table: pa.Table
    labels: NDArray[Any]
    scores: Scores
    slices: Sequence[Slice]
    task: Task
    metric: Metric

    @classmethod
    def of(cls, table: pa.Table, labels: NDArray[Any], scores: Scores, task: Task, gates: Gates) -> Explained:
        return cls(table, labels, scores, slices_of(table, gates.slices), task, gates.decider)

    @property
    def large_slices(self) -> list[Slice]:
        """The slices that are large enough to be judged, in their order; of more than 20, the 20 largest."""
        large = [one for one in self.slices if self.task.is_large(self.labels[one.places])]
        least = sorted((len(one.places) for one in large), reverse=True)[:SLICES][-1:] or [0]
        return [one for one in large if len(one.places) >= least[0]][:SLICES]

    def drawn(self, rows: int) -> Places:
        """Places of as many rows, and of more of a class that hardly has any among them: its metric needs some."""
        import numpy as np

        order = self.shuffled()
        drawn = order[:rows]
        if self.task.name != "regression":
            rest = order[rows:]
            fewer = {place: FEWEST_ROWS - (self.labels[drawn] == place).sum() for place in np.unique(self.labels)}
            added = [rest[self.labels[rest] == place][:few] for place, few in fewer.items() if few > 0]
            drawn = np.concatenate([drawn, *added])
        return np.sort(drawn)

    def shuffled(self) -> Places:
        """Places of all rows in an order that is always the same for as many rows."""
        import numpy as np

        return np.random.default_rng(SEED).permutation(len(self.table))


def explain(
    graph: bytes, scorer: Scorer, places: Sequence[str], background: pa.Table, about: Explained
) -> dict[str, Any]:
    """For ``evaluation.json``: columns by how much they matter, over a sample and on each large slice.

    Args:
        graph: Bytes of the model.
        scorer: The same, loaded.
        places: The request column that each place of the vector comes from.
        background: Rows of the training window that SHAP compares with.
        about: The rows to explain.

    Raises:
        ModelError: The model's vector has another length than ``places``, or there is no background.
    """
    explainer = explainer_of(graph, places, background, digest=scorer.digest)
    if explainer.method == "replacement":
        return _by_permutation(scorer, about)
    return _by_shap(explainer, len(background), about)


def _by_shap(explainer: Explainer, background: int, about: Explained) -> dict[str, Any]:
    """The mean size of the SHAP values, for several classes their mean over the classes."""
    import numpy as np
    import pyarrow as pa

    share = min(1.0, LEAVES / max(explainer.cost, 1))
    order = about.shuffled()
    sample = order[: max(FEWEST_ROWS, round(ROWS * share))]
    turn = np.argsort(order)
    few = round(ROWS_OF_SLICE * share)
    large = about.large_slices if few >= FEWEST_OF_SLICE else []
    of_slices = [(one, sorted(one.places, key=turn.__getitem__)[:few]) for one in large]
    rows = np.unique(np.concatenate([sample, *(of for _, of in of_slices)]).astype(np.int64))
    found = explainer.explain(about.table.take(pa.array(rows)))
    sizes = np.abs(found.values).mean(axis=2)

    def told(of: Sequence[int] | Places) -> dict[str, Any]:
        return _told(found.columns, sizes[np.searchsorted(rows, np.asarray(of))].mean(axis=0), len(of))

    return {
        "method": found.method,
        "unit": found.unit,
        "background_rows": background,
        "seed": SEED,
        **told(sample),
        "slices": [{"column": one.column, "value": one.value, **told(of)} for one, of in of_slices],
    }


def _by_permutation(scorer: Scorer, about: Explained) -> dict[str, Any]:
    """What the metric loses, on average over three deals."""
    import numpy as np
    import pyarrow as pa

    sample = about.drawn(PERMUTED_ROWS)
    table, labels = about.table.take(pa.array(sample)), about.labels[sample]
    inside = [(one, np.flatnonzero(np.isin(sample, one.places))) for one in about.large_slices]
    inside = [(one, at) for one, at in inside if about.task.is_large(labels[at])]
    scopes = [np.arange(len(sample)), *(at for _, at in inside)]
    columns = [name for name, _ in scorer.columns]
    before = _values(about, labels, about.scores[sample], scopes)
    losses = np.zeros((len(scopes), len(columns)))
    random = np.random.default_rng(SEED)
    sign = 1 if about.metric.higher_is_better else -1
    for place, name in enumerate(columns):
        for _ in range(REPEATS):
            dealt = table.column(name).take(pa.array(random.permutation(len(sample))))
            permuted = table.set_column(table.column_names.index(name), name, dealt)
            scores = about.task.require_scores(scorer.score(permuted), of="the challenger")
            losses[:, place] += sign * (before - _values(about, labels, scores, scopes)) / REPEATS
    told = [_told(columns, loss, len(at)) for at, loss in zip(scopes, losses, strict=True)]
    return {
        "method": "permutation",
        "unit": about.metric.name,
        "repeats": REPEATS,
        "seed": SEED,
        **told[0],
        "slices": [
            {"column": one.column, "value": one.value, **of} for (one, _), of in zip(inside, told[1:], strict=True)
        ],
    }


def _values(
    about: Explained, labels: NDArray[Any], scores: Scores, scopes: Sequence[Places]
) -> NDArray[np.floating[Any]]:
    """The metric on each scope's rows."""
    import numpy as np

    return np.array([about.task.value(about.metric.name, labels[at], scores[at]) for at in scopes])


def _told(columns: Sequence[str], values: NDArray[np.floating[Any]], rows: int) -> dict[str, Any]:
    """How many rows, and the columns that matter most first; a share is of all that is above 0."""
    total = float(values.clip(min=0).sum()) or 1.0
    ordered = sorted(zip(columns, values.tolist(), strict=True), key=lambda pair: (-pair[1], pair[0]))
    return {
        "rows": rows,
        "columns": [
            {"column": name, "value": rounded(value), "share": rounded(max(value, 0.0) / total)}
            for name, value in ordered
        ],
    }

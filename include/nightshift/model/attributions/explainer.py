"""From a graph to the explainer that fits it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from nightshift.errors import ModelError
from nightshift.model.attributions.layout import LINEAR, Layout, Link, layout_of
from nightshift.model.attributions.linear import Linear
from nightshift.model.attributions.result import Attributions, Method, Unit
from nightshift.model.attributions.trees import Trees
from nightshift.model.request import request_arrays
from nightshift.model.session import ROWS_PER_RUN, Scorer

if TYPE_CHECKING:
    import numpy as np
    import onnx
    import pyarrow as pa

    Array = np.ndarray[Any, Any]

log = logging.getLogger(__name__)

BACKGROUND_ROWS = 100
PROVING_ROWS = 10
SEED = 0
TOLERANCE = 1e-5


class Explainer(Protocol):
    """Explains rows against the background rows that it was made with."""

    @property
    def method(self) -> Method:
        """How it explains."""

    @property
    def cost(self) -> int:
        """What one row takes, in leaves of trees; 0 where that is little."""

    def explain(self, rows: pa.Table) -> Attributions:
        """What each column adds to each row's scores.

        Args:
            rows: Request rows; columns that the model does not take are left alone.

        Raises:
            DataError: A column is absent or of a type that would need guessing.
        """


class Additive(Protocol):
    """A form of model whose SHAP values can be computed exactly."""

    method: Method

    @property
    def cost(self) -> int: ...

    def attributions(self, vectors: Array, background: Array) -> tuple[Array, Array]:
        """SHAP values of its outputs.

        Args:
            vectors: ``[N, F]``; missing is NaN.
            background: ``[B, F]``, likewise.

        Returns:
            By row, place and output, ``[N, F, outputs]`` float64; and the mean of each output over the background.
        """


def background_of(window: pa.Table) -> pa.Table:
    """The rows of a training window that rows are explained against: 100, drawn with a fixed seed."""
    import numpy as np
    import pyarrow as pa

    count = min(BACKGROUND_ROWS, len(window))
    rows = np.sort(np.random.default_rng(SEED).choice(len(window), count, replace=False))
    return window.take(pa.array(rows, pa.int64()))


def explainer_of(data: bytes, places: Sequence[str], background: pa.Table, *, digest: str | None = None) -> Explainer:
    """The explainer of a model: by SHAP where its graph is recognised, else by replacement.

    A graph is recognised only if what is read from it adds up to the scores that the graph itself gives of ten of the
    background rows.

    Args:
        data: Bytes of an ONNX file.
        places: The request column that each place of the vector comes from.
        background: Request rows of the training window.
        digest: The sha256 that the bytes must have; None only where no one recorded it.

    Raises:
        IntegrityError: The bytes do not have the digest.
        InfraCheckFailed: They are not a model that may be loaded.
        ModelError: There are no background rows, or the vector has another length than ``places``.
        DataError: A column of the background is absent or of a type that would need guessing.
    """
    import onnx

    scorer = Scorer.load(data, digest=digest)
    if not len(background):
        raise ModelError("there are no background rows to explain against.", hint="the training window has no rows")
    model = onnx.load_model_from_string(data)
    layout = layout_of(model, scorer.task)
    form = None if layout is None else _form_of(layout)
    if layout is None or form is None:
        log.info("explain: the graph is neither trees nor linear; columns are replaced one at a time")
        return Replacement(scorer, background)
    found = Shap(scorer, background, Vectors(model, layout, scorer), places, form=form)
    if not found.reproduces(background.slice(0, PROVING_ROWS)):
        log.warning("explain: the graph gives other scores than its parts add up to; columns are replaced instead")
        return Replacement(scorer, background)
    return found


def _form_of(layout: Layout) -> Additive | None:
    if layout.node.op_type in LINEAR:
        return Linear(layout)
    try:
        return Trees(layout)
    except ValueError as error:
        log.warning("explain: the trees of the graph cannot be read: %s", error)
        return None


class Vectors:
    """A graph up to the tensor that the learned node reads.

    Attributes:
        layout: What comes after it.
    """

    def __init__(self, model: onnx.ModelProto, layout: Layout, scorer: Scorer) -> None:
        import onnx
        import onnxruntime

        cut = onnx.ModelProto()
        cut.CopyFrom(model)
        del cut.graph.output[:]
        cut.graph.output.append(onnx.ValueInfoProto(name=layout.vector))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            cut.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self._columns = scorer.columns
        self.layout = layout

    def of(self, rows: pa.Table) -> Array:
        """``[N, F]`` float64; missing is NaN."""
        import numpy as np

        arrays = request_arrays(rows, self._columns)
        parts = [
            self._session.run(None, {name: array[at : at + ROWS_PER_RUN] for name, array in arrays.items()})[0]
            for at in range(0, max(len(rows), 1), ROWS_PER_RUN)
        ]
        return np.concatenate(parts).astype(np.float64)


class Shap:
    """SHAP values of the vector's places, added up by request column."""

    def __init__(
        self, scorer: Scorer, background: pa.Table, vectors: Vectors, places: Sequence[str], *, form: Additive
    ) -> None:
        """Raises ModelError: The vector has another length than ``places``, or these are of other columns."""
        self._scorer, self._vectors, self._form = scorer, vectors, form
        self._background = vectors.of(background)
        names = [name for name, _ in scorer.columns]
        if self._background.shape[1] != len(places) or not set(places) <= set(names):
            raise ModelError(
                f"the model's vector has {self._background.shape[1]} places of the columns {', '.join(names)}, and the "
                f"transforms make {len(places)} of {', '.join(dict.fromkeys(places))}."
            )
        self._column_of_place = [names.index(place) for place in places]

    @property
    def method(self) -> Method:
        return self._form.method

    @property
    def cost(self) -> int:
        return self._form.cost

    def explain(self, rows: pa.Table) -> Attributions:
        """See ``Explainer.explain``."""
        import numpy as np

        by_place, base = self._vectors.layout.raw(*self._form.attributions(self._vectors.of(rows), self._background))
        columns = tuple(name for name, _ in self._scorer.columns)
        values = np.zeros((len(by_place), len(columns), len(base)))
        for place, column in enumerate(self._column_of_place):
            values[:, column] += by_place[:, place]
        return Attributions(self.method, self._unit, columns, values, base, base + values.sum(axis=1))

    @property
    def _unit(self) -> Unit:
        if self._vectors.layout.link in ("none", "cut"):
            return "value" if self._scorer.task == "regression" else "probability"
        return "log-odds" if self._vectors.layout.link == "sigmoid" else "margin"

    def reproduces(self, rows: pa.Table) -> bool:
        """Whether base and values add up to what the graph gives."""
        import numpy as np

        found = self.explain(rows)
        scores = self._scorer.score(rows).reshape(len(rows), -1).astype(np.float64)
        if found.raw.shape != scores.shape:
            return False
        sizes = np.abs(found.base) + np.abs(found.values).sum(axis=1)
        close = np.abs(_linked(found.raw, self._vectors.layout.link) - scores) <= TOLERANCE * np.maximum(1, sizes)
        return bool(close.all())


def _linked(raw: Array, link: Link) -> Array:
    from scipy import special

    if link in ("none", "cut"):
        return raw if link == "none" else raw.clip(0, 1)
    probabilities: Array = special.expit(raw) if link == "sigmoid" else special.softmax(raw, axis=1)
    return probabilities


class Replacement:
    """Scores with one column at a time replaced by the background's values; nothing is known of the model."""

    method: Method = "replacement"
    cost = 0

    def __init__(self, scorer: Scorer, background: pa.Table) -> None:
        self._scorer = scorer
        self._columns = tuple(name for name, _ in scorer.columns)
        self._background = background.select(list(self._columns))

    def explain(self, rows: pa.Table) -> Attributions:
        """See ``Explainer.explain``; a column's number is the score less the mean score with it replaced."""
        import numpy as np

        raw = self._scores(rows)
        values = np.zeros((len(rows), len(self._columns), raw.shape[1]))
        given = rows.select(list(self._columns))
        for row in range(len(rows)):
            same = given.take(np.full(len(self._background), row))
            for place, name in enumerate(self._columns):
                replaced = same.set_column(place, name, self._background.column(name))
                values[row, place] = raw[row] - self._scores(replaced).mean(axis=0)
        unit: Unit = "value" if self._scorer.task == "regression" else "probability"
        base = self._scores(self._background).mean(axis=0)
        return Attributions(self.method, unit, self._columns, values, base, raw)

    def _scores(self, rows: pa.Table) -> Array:
        scores: Array = self._scorer.score(rows).reshape(len(rows), -1).astype("float64")
        return scores

"""Loading a model: look first, then create the session.

A model file is data from storage. Before ONNX Runtime sees it, everything that could read other files or
run other code is refused: external data, unknown operator domains, functions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from nightshift.errors import InfraCheckFailed, IntegrityError, ModelError
from nightshift.model.request import request_arrays
from nightshift.spec.task_rules import OUTPUTS
from nightshift.spec.values import Task

if TYPE_CHECKING:
    import numpy as np
    import onnx
    import onnxruntime
    import pandas as pd
    import pyarrow as pa

SIZE_LIMIT = 512 * 1024 * 1024
DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
SCORES: dict[Task, str] = {"binary": "probability", "multiclass": "probabilities", "regression": "prediction"}
# In the graph's metadata: the task, and for multiclass a JSON list of the classes in the order of the probabilities.
TASK, CLASSES = "nightshift.task", "nightshift.classes"
ROWS_PER_RUN = 65_536


class Scorer:
    """A loaded model.

    Attributes:
        columns: The request columns, as name and kind (``numeric`` or ``categorical``), in order.
        digest: sha256 of the model's bytes.
        task: What the model tells: ``binary``, ``multiclass`` or ``regression``.
        classes: For multiclass, the classes in the order of the probabilities; else empty.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        columns: tuple[tuple[str, str], ...],
        digest: str,
        *,
        task: Task = "binary",
        classes: tuple[str, ...] = (),
        threads: int = 1,
    ) -> None:
        self._session = session
        self.columns = columns
        self.digest = digest
        self.task: Task = task
        self.classes = classes
        self._threads = threads

    @classmethod
    def load(cls, data: bytes, *, digest: str | None = None, threads: int = 1, size_limit: int = SIZE_LIMIT) -> Scorer:
        """Check a model and load it.

        Args:
            data: Bytes of an ONNX file.
            digest: The sha256 that the bytes must have; None only where no one recorded it.
            threads: Threads of one call.
            size_limit: Largest size in bytes.

        Raises:
            IntegrityError: The bytes do not have the digest.
            InfraCheckFailed: They are not a model that may be loaded, or ONNX Runtime refuses them.
        """
        actual = hashlib.sha256(data).hexdigest()
        if digest is not None and digest != actual:
            raise IntegrityError(f"the model has digest {actual}, but {digest} was recorded.")
        if len(data) > size_limit:
            raise InfraCheckFailed(f"the model has {len(data)} bytes; the limit is {size_limit}.")
        model = _parsed(data)
        columns = _checked_columns(model)
        task, classes = _told(model)
        # More threads would add up the trees in parts: near 0, values would depend on how many there are.
        within = 1 if task == "regression" else threads
        return cls(_session(data, within), columns, actual, task=task, classes=classes, threads=threads // within)

    def score(self, data: pa.Table | pd.DataFrame) -> np.ndarray[Any, Any]:
        """What the model tells, whatever its task.

        Args:
            data: Request rows. Null means missing; columns that the model does not take are left alone.

        Returns:
            float32: for binary ``[N]``, the probability of the positive class; for multiclass ``[N, K]``, the
            probabilities in the order of ``classes``; for regression ``[N]``, the values.

        Raises:
            DataError: A column is absent or of a type that would need guessing.
        """
        return self._run(data, SCORES[self.task], (0, len(self.classes)) if self.classes else (0,), "float32")

    def labels(self, data: pa.Table | pd.DataFrame) -> np.ndarray[Any, Any]:
        """What the model decides; raises as ``score`` does.

        Returns:
            For binary ``[N]`` int64, whether the probability reaches the model's threshold; for multiclass ``[N]``
            texts, the most probable class, the first of equally probable ones.

        Raises:
            ModelError: The task is regression: it decides nothing.
        """
        if self.task == "regression":
            raise ModelError("a regression model gives values, and decides between no labels.")
        return self._run(data, "label", (0,), "int64" if self.task == "binary" else "object")

    def _run(
        self, data: pa.Table | pd.DataFrame, output: str, empty: tuple[int, ...], dtype: str
    ) -> np.ndarray[Any, Any]:
        import numpy as np

        arrays = request_arrays(data, self.columns)
        rows = len(next(iter(arrays.values())))

        def part(at: int) -> np.ndarray[Any, Any]:
            some = {name: array[at : at + ROWS_PER_RUN] for name, array in arrays.items()}
            scored: np.ndarray[Any, Any] = self._session.run([output], some)[0]
            return scored

        starts = range(0, rows, ROWS_PER_RUN)
        if self._threads > 1 and len(starts) > 1:
            with ThreadPoolExecutor(self._threads) as pool:
                parts = list(pool.map(part, starts))
        else:
            parts = [part(at) for at in starts]
        return np.concatenate(parts) if parts else np.empty(empty, dtype)


def _parsed(data: bytes) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model = onnx.load_model_from_string(data)
    except DecodeError as error:
        raise InfraCheckFailed("the model is not an ONNX file: its bytes cannot be parsed.") from error
    if not model.ir_version or not model.graph.node:
        raise InfraCheckFailed("the model is not an ONNX file: it has no graph.")
    return model


def _checked_columns(model: onnx.ModelProto) -> tuple[tuple[str, str], ...]:
    """The request columns of a model that may be loaded.

    Raises:
        InfraCheckFailed: It refers to other files or other code, or has other inputs and outputs than a model.
    """
    from onnx import TensorProto

    if model.functions or model.training_info:
        raise InfraCheckFailed("the model defines functions of its own; only plain graphs are loaded.")
    domains = {opset.domain for opset in model.opset_import} | {node.domain for node in nodes_in(model.graph)}
    if domains - DOMAINS:
        raise InfraCheckFailed(
            f"the model uses operators of {', '.join(sorted(domains - DOMAINS))}, which is not known.",
            hint="only the standard domains ai.onnx and ai.onnx.ml are loaded",
        )
    for tensor in tensors_in(model.graph):
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            raise InfraCheckFailed(
                f"the model keeps {tensor.name or 'a tensor'} in another file; external data is never loaded."
            )
    kinds = {TensorProto.FLOAT: "numeric", TensorProto.STRING: "categorical"}
    types = [(value.name, value.type.tensor_type.elem_type) for value in model.graph.input]
    other = [name for name, kind in types if kind not in kinds]
    if other or not types:
        raise InfraCheckFailed(f"the model's inputs must be float32 or string; {', '.join(other) or 'there are none'}.")
    return tuple((name, kinds[kind]) for name, kind in types)


def _told(model: onnx.ModelProto) -> tuple[Task, tuple[str, ...]]:
    """The task of a model, and its classes; a graph that does not say so is binary.

    Raises:
        InfraCheckFailed: The task is not known, or its outputs are not those of the task.
    """
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    told = metadata.get(TASK, "binary")
    task = next((known for known in OUTPUTS if known == told), None)
    if task is None:
        raise InfraCheckFailed(f"the model is made for the task {told!r}; known are {', '.join(OUTPUTS)}.")
    outputs = tuple(output.name for output in model.graph.output)
    if outputs != OUTPUTS[task]:
        raise InfraCheckFailed(f"the model gives {', '.join(outputs)}; {' and '.join(OUTPUTS[task])} were expected.")
    return task, _classes(metadata, model.graph.output[1]) if task == "multiclass" else ()


def _classes(metadata: dict[str, str], probabilities: onnx.ValueInfoProto) -> tuple[str, ...]:
    """Raises InfraCheckFailed: The metadata do not name as many classes as there are probabilities."""
    try:
        classes = json.loads(metadata.get(CLASSES, "null"))
    except json.JSONDecodeError:
        classes = None
    width = probabilities.type.tensor_type.shape.dim[-1].dim_value
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes) or len(classes) != width:
        raise InfraCheckFailed(f"the model gives {width} probabilities, and its metadata do not name as many classes.")
    return tuple(classes)


def nodes_in(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Every node, those of graphs inside nodes included."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from nodes_in(inner)


def tensors_in(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Every tensor that is stored in a graph or in the attributes of its nodes, at any depth."""
    yield from graph.initializer
    yield from _dense(graph.sparse_initializer)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors)
            sparse = (*([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []),)
            yield from _dense((*sparse, *attribute.sparse_tensors))
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from tensors_in(inner)


def _dense(sparse: Any) -> Iterator[onnx.TensorProto]:
    for tensor in sparse:
        yield from (tensor.values, tensor.indices)


def _session(data: bytes, threads: int) -> onnxruntime.InferenceSession:
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    refusals = (
        state.EPFail,
        state.Fail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.InvalidProtobuf,
        state.NoModel,
        state.NotImplemented,
        state.RuntimeException,
    )
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except refusals as error:
        raise InfraCheckFailed(f"ONNX Runtime does not load the model: {str(error).splitlines()[0]}") from error

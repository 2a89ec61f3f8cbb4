"""Loading a model: look first, then create the session.

A model file is data from storage. Before ONNX Runtime sees it, everything that could read other files or
run other code is refused: external data, unknown operator domains, functions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from nightshift.errors import InfraCheckFailed, IntegrityError
from nightshift.model.request import request_arrays

if TYPE_CHECKING:
    import numpy as np
    import onnx
    import onnxruntime
    import pandas as pd
    import pyarrow as pa

SIZE_LIMIT = 512 * 1024 * 1024
DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
OUTPUTS = ("probability", "label")
ROWS_PER_RUN = 65_536


class Scorer:
    """A loaded model.

    Attributes:
        columns: The request columns, as name and kind (``numeric`` or ``categorical``), in order.
        digest: sha256 of the model's bytes.
    """

    def __init__(
        self, session: onnxruntime.InferenceSession, columns: tuple[tuple[str, str], ...], digest: str
    ) -> None:
        self._session = session
        self.columns = columns
        self.digest = digest

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
        columns = _checked_columns(_parsed(data))
        return cls(_session(data, threads), columns, actual)

    def score(self, data: pa.Table | pd.DataFrame) -> np.ndarray[Any, Any]:
        """Probability of the positive class.

        Args:
            data: Request rows. Null means missing; columns that the model does not take are left alone.

        Returns:
            ``[N]`` float32.

        Raises:
            DataError: A column is absent or of a type that would need guessing.
        """
        return self._run(data, "probability", "float32")

    def labels(self, data: pa.Table | pd.DataFrame) -> np.ndarray[Any, Any]:
        """Whether the probability reaches the model's threshold, ``[N]`` int64; raises as ``score`` does."""
        return self._run(data, "label", "int64")

    def _run(self, data: pa.Table | pd.DataFrame, output: str, dtype: str) -> np.ndarray[Any, Any]:
        import numpy as np

        arrays = request_arrays(data, self.columns)
        rows = len(next(iter(arrays.values())))
        parts = [
            self._session.run([output], {name: array[at : at + ROWS_PER_RUN] for name, array in arrays.items()})[0]
            for at in range(0, rows, ROWS_PER_RUN)
        ]
        return np.concatenate(parts) if parts else np.empty(0, dtype)


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
    domains = {opset.domain for opset in model.opset_import} | {node.domain for node in _nodes(model.graph)}
    if domains - DOMAINS:
        raise InfraCheckFailed(
            f"the model uses operators of {', '.join(sorted(domains - DOMAINS))}, which is not known.",
            hint="only the standard domains ai.onnx and ai.onnx.ml are loaded",
        )
    for tensor in _tensors(model.graph):
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            raise InfraCheckFailed(
                f"the model keeps {tensor.name or 'a tensor'} in another file; external data is never loaded."
            )
    outputs = tuple(output.name for output in model.graph.output)
    if outputs != OUTPUTS:
        raise InfraCheckFailed(f"the model gives {', '.join(outputs)}; {' and '.join(OUTPUTS)} were expected.")
    kinds = {TensorProto.FLOAT: "numeric", TensorProto.STRING: "categorical"}
    types = [(value.name, value.type.tensor_type.elem_type) for value in model.graph.input]
    other = [name for name, kind in types if kind not in kinds]
    if other or not types:
        raise InfraCheckFailed(f"the model's inputs must be float32 or string; {', '.join(other) or 'there are none'}.")
    return tuple((name, kinds[kind]) for name, kind in types)


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Every node, those of graphs inside nodes included."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _nodes(inner)


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Every tensor that is stored in a graph or in the attributes of its nodes, at any depth."""
    yield from graph.initializer
    yield from _dense(graph.sparse_initializer)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors)
            sparse = (*([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []),)
            yield from _dense((*sparse, *attribute.sparse_tensors))
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _tensors(inner)


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

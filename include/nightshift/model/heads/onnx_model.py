"""Any ONNX model that reads the vector and gives scores: what converters of other libraries make."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nightshift.errors import ModelError
from nightshift.model.graph import OPSETS
from nightshift.model.session import DOMAINS, nodes_in, tensors_in
from nightshift.spec.values import Task
from nightshift.transforms import OnnxGraph

if TYPE_CHECKING:
    import onnx

PREFIX = "onnx/"
# Operators whose definition of ``OPSETS`` only adds attributes to the earlier ones.
GROWN = {("ai.onnx.ml", "TreeEnsembleClassifier"), ("ai.onnx.ml", "TreeEnsembleRegressor")}
HINT = f"convert with target_opset={OPSETS}"
FORMS: dict[Task, str] = {
    "binary": "[N] or [N, 1], the probability of the positive class, or [N, 2], of both classes",
    "multiclass": "[N, K], a probability for each class of the spec",
    "regression": "[N] or [N, 1]",
}


@dataclass(frozen=True)
class OnnxModelHead:
    """A whole ONNX model, whose nodes become part of the graph.

    Attributes:
        model: Its one input is ``[N, F]``, float32 or float64, where missing is NaN; it gives scores for each row:
            for binary ``[N]``, ``[N, 1]`` or ``[N, 2]``; for multiclass ``[N, K]``; for regression ``[N]`` or
            ``[N, 1]``. Other outputs, such as labels, are left out.
        task: What it tells.
        width: Length of the vectors it was trained on.
        classes: For multiclass, how many classes there are; else 0.
        scores: Name of the output with the scores; needed only where several outputs are floating-point numbers.
    """

    model: onnx.ModelProto
    task: Task
    width: int
    classes: int = 0
    scores: str | None = None

    def onnx_nodes(self, graph: OnnxGraph, features: str, *, output: str) -> str:
        """Add the model's nodes; see ``Head.onnx_nodes``.

        Raises:
            ModelError: The model has other inputs or outputs than these, operators of other versions than the graph,
                or something that may not be loaded.
        """
        import numpy as np
        from onnx import compose

        self._require_plain()
        self._require_versions()
        prefix = f"{graph.scope}/{PREFIX}"
        given, told = self._input(), self._output()
        # The library renames inner graphs before it knows the names of constants.
        names = {constant.name: prefix + constant.name for constant in self.model.graph.initializer}
        inner = compose.add_prefix_graph(self.model.graph, prefix, name_map=names)
        graph.add("Cast", features, to=given.type.tensor_type.elem_type, output=prefix + given.name)
        graph.nodes.extend(inner.node)
        graph.constants.extend(inner.initializer)
        numbers = graph.cast(prefix + told.name, "FLOAT")
        if self.task != "regression":
            # Probabilities that are added up in float32, as a forest's are, end a last bit above 1 now and then.
            numbers = graph.add("Clip", numbers, graph.float32(0.0), graph.float32(1.0))
        shape = told.type.tensor_type.shape.dim
        if self.task == "multiclass" or len(shape) == 1:
            return graph.add("Identity", numbers, output=output)
        last = np.array(shape[1].dim_value - 1, np.int64)  # of both classes, the positive one
        return graph.add("Gather", numbers, graph.constant(last), axis=1, output=output)

    def _require_plain(self) -> None:
        """Refuse what a model may not have when it is loaded, here and not in a year."""
        import onnx

        if not isinstance(self.model, onnx.ModelProto):
            raise ModelError(f"an onnx.ModelProto was expected, not a {type(self.model).__name__}.")
        if self.model.functions or self.model.training_info:
            raise ModelError(
                "the ONNX model defines functions of its own; only plain graphs are loaded.",
                hint="onnx.inliner.inline_local_functions makes a plain graph of it",
            )
        other = {f"{node.domain}.{node.op_type}" for node in nodes_in(self.model.graph) if node.domain not in DOMAINS}
        if other:
            raise ModelError(
                f"the ONNX model uses {', '.join(sorted(other))}; only operators of ai.onnx and ai.onnx.ml are loaded."
            )
        if any(tensor.external_data or tensor.data_location for tensor in tensors_in(self.model.graph)):
            raise ModelError(
                "the ONNX model keeps tensors in other files; external data is never loaded.",
                hint="onnx.load(path) reads them, onnx.external_data_helper.convert_model_from_external_data too",
            )
        if self.model.graph.sparse_initializer:
            raise ModelError("the ONNX model has sparse constants; write them as dense ones.")

    def _require_versions(self) -> None:
        """Demand that every operator means the same in the graph as in the model."""
        changed = sorted(set(self._changed()))
        if changed:
            graph = " and ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in OPSETS.items())
            raise ModelError(
                f"the graph has the operators of {graph}, and these of the ONNX model are defined otherwise there: "
                f"{', '.join(changed)}.",
                hint=HINT,
            )

    def _changed(self) -> Iterator[str]:
        """Operators whose definition is another one in the graph, with their model's version."""
        from onnx import defs

        versions: dict[str, int] = {}
        for opset in self.model.opset_import:  # skl2onnx names some twice; the same one then
            domain = "" if opset.domain == "ai.onnx" else opset.domain
            versions[domain] = max(opset.version, versions.get(domain, 0))
        for node in nodes_in(self.model.graph):
            domain = "" if node.domain == "ai.onnx" else node.domain
            version = versions.get(domain, OPSETS[domain])
            try:
                theirs = defs.get_schema(node.op_type, version, domain).since_version
                ours = defs.get_schema(node.op_type, OPSETS[domain], domain).since_version
            except defs.SchemaError:  # one of them does not know it at all
                theirs, ours = version, 0
            if theirs != ours and not (theirs < ours and (domain, node.op_type) in GROWN):
                yield f"{node.op_type} of {domain or 'ai.onnx'} {version}"

    def _input(self) -> onnx.ValueInfoProto:
        """The model's one input; old models list their constants among them."""
        from onnx import TensorProto

        constants = {constant.name for constant in self.model.graph.initializer}
        inputs = [value for value in self.model.graph.input if value.name not in constants]
        if len(inputs) != 1:
            names = ", ".join(value.name for value in inputs) or "none"
            raise ModelError(
                f"the ONNX model must have one input, the vector [N, {self.width}]; its inputs are {names}."
            )
        tensor = inputs[0].type.tensor_type
        shape = [dim.dim_value for dim in tensor.shape.dim]  # 0: any
        fits = len(shape) == 2 and shape[0] == 0 and shape[1] in (0, self.width)
        if tensor.elem_type not in (TensorProto.FLOAT, TensorProto.DOUBLE) or not fits:
            raise ModelError(
                f"the input of the ONNX model, {inputs[0].name}, is {described(inputs[0])}; "
                f"float32 [N, {self.width}] was expected."
            )
        return inputs[0]

    def _output(self) -> onnx.ValueInfoProto:
        """The output that has the scores, with its shape."""
        import onnx
        from onnx import TensorProto

        # Converters that leave shapes out leave this to onnx.
        outputs = list(onnx.shape_inference.infer_shapes(self.model).graph.output)
        numbers = [
            value for value in outputs if value.type.tensor_type.elem_type in (TensorProto.FLOAT, TensorProto.DOUBLE)
        ]
        chosen = [value for value in numbers if self.scores in (None, value.name)]
        if len(chosen) != 1:
            listed = ", ".join(f"{value.name} ({described(value)})" for value in outputs)
            wanted = "one output of floating-point numbers" if self.scores is None else f"an output {self.scores}"
            zipped = any(value.type.WhichOneof("value") != "tensor_type" for value in outputs)
            raise ModelError(
                f"the ONNX model must have {wanted}; its outputs are {listed}.",
                hint='skl2onnx: options={"zipmap": False}'
                if zipped
                else "name the one with the scores: OnnxModelHead(…, scores=…)",
            )
        shape = [dim.dim_value for dim in chosen[0].type.tensor_type.shape.dim]
        if shape[:1] != [0] or not self._has_form(shape):
            raise ModelError(
                f"the output {chosen[0].name} of the ONNX model is {described(chosen[0])}; {self.task} needs "
                f"{FORMS[self.task].replace('K', str(self.classes))}."
            )
        return chosen[0]

    def _has_form(self, shape: list[int]) -> bool:
        if self.task == "multiclass":
            return len(shape) == 2 and shape[1] == self.classes
        widths = (1, 2) if self.task == "binary" else (1,)
        return len(shape) == 1 or (len(shape) == 2 and shape[1] in widths)


def described(value: onnx.ValueInfoProto) -> str:
    """Type and shape, such as ``float32 [N, 2]``; what nobody says is a question mark."""
    from onnx import helper

    if value.type.WhichOneof("value") != "tensor_type":
        return f"a {str(value.type.WhichOneof('value')).removesuffix('_type')}"
    tensor = value.type.tensor_type
    kind = helper.tensor_dtype_to_np_dtype(tensor.elem_type).name if tensor.elem_type else "?"
    if not tensor.HasField("shape"):
        return f"{kind} of unknown shape"
    names = (
        str(dim.dim_value) if dim.dim_value else "N" if place == 0 else "?"
        for place, dim in enumerate(tensor.shape.dim)
    )
    return f"{kind} [{', '.join(names)}]"

"""The MLflow model folder of one ONNX graph, with exactly the bytes that were judged."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightshift.spec.task_rules import OUTPUTS
from nightshift.spec.values import Task

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.models import ModelSignature

ModelOutputs = Sequence[tuple[str, str, tuple[int, ...]]]

GRAPH_FILE = "model.onnx"
REQUIREMENTS = ("mlflow", "numpy", "onnx", "onnxruntime", "pandas")


def write_model_folder(
    folder: Path,
    graph: bytes,
    *,
    columns: Sequence[tuple[str, str]],
    outputs: ModelOutputs,
    example: Mapping[str, Sequence[Any]],
    logged: LoggedModel,
) -> None:
    """Write ``MLmodel``, the graph, its requirements, signature and input example.

    The signature is of tensors, as the graph has them: every request column ``[-1, 1]``. MLflow turns the
    columns of a DataFrame into such tensors by itself.

    Args:
        folder: A folder that does not exist yet.
        graph: Bytes of the ONNX graph.
        columns: Request columns, as name and kind (``numeric``, ``categorical``).
        outputs: What the graph gives.
        example: A few values of each request column; null means missing.
        logged: MLflow's record of the model, made before its files.
    """
    import mlflow.onnx
    import onnx
    from mlflow.models import Model

    about = Model(
        artifact_path=logged.artifact_location,
        run_id=logged.source_run_id,
        model_uuid=logged.model_id,
        model_id=logged.model_id,
    )
    with warnings.catch_warnings():
        # MLflow warns about its own type hints when it loads its flavours, here.
        warnings.simplefilter("ignore")
        mlflow.onnx.save_model(
            onnx.load_model_from_string(graph),
            str(folder),
            mlflow_model=about,
            signature=signature(columns, outputs),
            input_example=_tensors(columns, example),
            # Said here, or MLflow starts a process to infer them: seconds, and both builds of xgboost at once.
            pip_requirements=[f"{name}=={version(name)}" for name in REQUIREMENTS],
            save_as_external_data=False,
            onnx_execution_providers=["CPUExecutionProvider"],
        )
    # MLflow parses the graph and writes it again; the bytes that were judged are the ones that are kept.
    (folder / GRAPH_FILE).write_bytes(graph)


def signature(columns: Sequence[tuple[str, str]], outputs: ModelOutputs) -> ModelSignature:
    """Request columns in, what the model tells out."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    types = {"numeric": np.dtype(np.float32), "categorical": np.dtype(np.str_)}
    return ModelSignature(
        inputs=Schema([TensorSpec(types[kind], (-1, 1), name) for name, kind in columns]),
        outputs=Schema([TensorSpec(np.dtype(kind), shape, name) for name, kind, shape in outputs]),
    )


def outputs_of(task: Task, classes: Sequence[str]) -> ModelOutputs:
    """Name, type and shape of what a model of a task gives, in the order of the graph."""
    kinds: dict[str, tuple[str, tuple[int, ...]]] = {
        "probability": ("float32", (-1,)),
        "probabilities": ("float32", (-1, len(classes))),
        "prediction": ("float32", (-1,)),
        "label": ("int64" if task == "binary" else "str", (-1,)),
    }
    return tuple((name, *kinds[name]) for name in OUTPUTS[task])


def _tensors(columns: Sequence[tuple[str, str]], example: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    import numpy as np

    tensors: dict[str, Any] = {}
    for name, kind in columns:
        if kind == "numeric":
            values = np.array([np.nan if value is None else value for value in example[name]], np.float32)
        else:
            values = np.array([value or "" for value in example[name]], np.str_)
        tensors[name] = values.reshape(-1, 1)
    return tensors

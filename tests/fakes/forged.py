"""Artifacts of an attacker who may write whatever a training job may write.

Each carries a payload that leaves a mark if it goes off, and says how it would be loaded by somebody who does not
look first: a test that never sees the mark means nothing unless that makes it.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from tests.fakes.trained_night import Night

from nightshift.ledger import Blessed, Candidate, Entry, Ledger, blessings
from nightshift.storage import Ref

MLMODEL = """\
flavors:
  python_function:
    code: code
    data: data
    env: {}
    loader_module: payload
model_uuid: 0f0e0d0c0b0a09080706050403020100
"""
LOADER = """\
from pathlib import Path


class Nothing:
    def predict(self, frame):
        return frame


def _load_pyfunc(path):
    Path({mark!r}).touch()
    return Nothing()
"""


@dataclass(frozen=True)
class Forgery:
    """What an attacker puts in a model's place.

    Attributes:
        graph: Bytes of ``graph.onnx``.
        mark: The file that is there once the payload has gone off.
        load_unsafely: Loads it as somebody does who looks at nothing; the argument is an empty folder.
        beside: Further files of the same version.
    """

    graph: bytes
    mark: Path
    load_unsafely: Callable[[Path], None]
    beside: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.graph).hexdigest()

    @property
    def went_off(self) -> bool:
        return self.mark.exists()


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str, int]]:
        return os.open, (str(self.mark), os.O_CREAT)


class Trap:
    """Makes a file when its state is set, which is how skops builds an object."""

    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __getstate__(self) -> dict[str, str]:
        return {"mark": self.mark}

    def __setstate__(self, state: dict[str, str]) -> None:
        Path(state["mark"]).touch()


def a_pickle(good: bytes, mark: Path) -> Forgery:
    """A pickle by the name of an ONNX file, and one by its own."""
    payload = pickle.dumps(Bomb(mark))
    return Forgery(payload, mark, lambda folder: os.close(pickle.loads(payload)), {"model.pkl": payload})


def a_skops_file(good: bytes, mark: Path) -> Forgery:
    with warnings.catch_warnings():
        # It looks into every module that this process has; what old names of Airflow's say to that is not the point.
        warnings.simplefilter("ignore")
        import skops.io

        made = skops.io.dumps(Trap(mark))
        trusted = skops.io.get_untrusted_types(data=made)
    return Forgery(made, mark, lambda folder: skops.io.loads(made, trusted=trusted), {"model.skops": made})


def an_mlflow_model(good: bytes, mark: Path) -> Forgery:
    """MLflow's python_function flavour: the module that ``loader_module`` names is run."""
    files = mlflow_files(mark)

    def load(folder: Path) -> None:
        load_with_mlflow(write_files(folder / "model", files))

    return Forgery(files["MLmodel"], mark, load, files)


def mlflow_files(mark: Path) -> dict[str, bytes]:
    return {"MLmodel": MLMODEL.encode(), "code/payload.py": LOADER.format(mark=str(mark)).encode(), "data/none": b""}


def write_files(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def load_with_mlflow(folder: Path) -> None:
    """As ``mlflow models serve`` does, in a process of its own: it would put the folder on the path of imports."""
    program = "import sys, mlflow.pyfunc; mlflow.pyfunc.load_model(sys.argv[1])"
    subprocess.run([sys.executable, "-c", program, str(folder)], check=True, capture_output=True)


def outside_data(good: bytes, mark: Path) -> Forgery:
    """Its numbers lie in a file that is none of the version's: what the file says comes out with the scores."""
    secret = mark.with_name("secret.bin")
    np.array([0.625], np.float32).tofile(secret)
    model = onnx.load_model_from_string(good)
    told = TensorProto(name="told", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", secret.name), ("offset", "0"), ("length", "4")):
        told.external_data.add(key=key, value=value)
    model.graph.initializer.append(told)
    say_instead_of_scores(model, "told")
    data = model.SerializeToString()

    def load(folder: Path) -> None:
        path = folder / "graph.onnx"
        path.write_bytes(data)
        (folder / secret.name).write_bytes(secret.read_bytes())
        if set(run_with_onnxruntime(path, model)) == {0.625}:
            mark.touch()

    return Forgery(data, mark, load)


def foreign_operator(good: bytes, mark: Path) -> Forgery:
    """An operator of a domain of the attacker's own, which does what it likes where somebody brings it."""
    model = onnx.load_model_from_string(good)
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    model.graph.node.append(helper.make_node("Touch", [model.graph.input[0].name], ["told"], domain="com.example"))
    say_instead_of_scores(model, "told")
    data = model.SerializeToString()

    class Touch(OpRun):
        op_domain = "com.example"

        def _run(self, x: Any) -> tuple[Any]:
            mark.touch()
            return (np.zeros(len(x), np.float32),)

    def load(folder: Path) -> None:
        ReferenceEvaluator(model, new_ops=[Touch]).run(["probability"], empty_row(model))

    return Forgery(data, mark, load)


def extra_operator(good: bytes, mark: Path) -> Forgery:
    """An operator that ONNX Runtime brings along beyond the standard, and runs when nobody looks."""
    model = onnx.load_model_from_string(good)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    model.graph.node.append(helper.make_node("Gelu", ["probability_"], ["told"], domain="com.microsoft"))
    say_instead_of_scores(model, "told")
    data = model.SerializeToString()

    def load(folder: Path) -> None:
        if run_with_onnxruntime(data, model):
            mark.touch()

    return Forgery(data, mark, load)


def say_instead_of_scores(model: onnx.ModelProto, name: str) -> None:
    """The graph's own scores go nowhere, and something else comes out under their name."""
    for node in model.graph.node:
        for place, output in enumerate(node.output):
            if output == "probability":
                node.output[place] = "probability_"
        for place, given in enumerate(node.input):
            if given == "probability":
                node.input[place] = "probability_"
    model.graph.node.append(helper.make_node("Identity", [name], ["probability"]))


def run_with_onnxruntime(given: bytes | Path, model: onnx.ModelProto) -> list[float]:
    """Scores of one empty row, by a session that was made without looking."""
    session = onnxruntime.InferenceSession(
        given if isinstance(given, bytes) else str(given), providers=["CPUExecutionProvider"]
    )
    scores: list[float] = session.run(["probability"], empty_row(model))[0].tolist()
    return scores


def empty_row(model: onnx.ModelProto) -> dict[str, Any]:
    texts = {value.name: value.type.tensor_type.elem_type == TensorProto.STRING for value in model.graph.input}
    return {name: np.array([[""]] if text else [[0.0]], None if text else np.float32) for name, text in texts.items()}


FORGERIES: Mapping[str, Callable[[bytes, Path], Forgery]] = {
    "a pickle": a_pickle,
    "a skops file": a_skops_file,
    "an MLflow model with loader_module": an_mlflow_model,
    "ONNX with data of another file": outside_data,
    "ONNX with an operator of its own": foreign_operator,
    "ONNX with an operator beyond the standard": extra_operator,
}


def smuggled(night: Night, forgery: Forgery) -> Night:
    """The night, with a training result of the attacker's: every digest in it is right."""
    return republished(night, forgery.graph, forgery.beside)


def republished(night: Night, graph: bytes, beside: Mapping[str, bytes] | None = None) -> Night:
    """The night, with another graph in its training result."""
    train, digest = night.io.given("train"), hashlib.sha256(graph).hexdigest()
    files = {entry.path: night.store.read(train, entry.path) for entry in train.files}
    card = {**json.loads(files["model.json"]), "graph_sha256": digest}
    files |= {**(beside or {}), "graph.onnx": graph, "model.json": json.dumps(card).encode()}
    attempt = night.store.attempt("train", train.interval)
    for name, data in files.items():
        attempt.put(name, data)
    result = {**train.result, "model_digest": digest}
    published = attempt.publish(stage_key="republished", code="forged", inputs=train.inputs, result=result)
    return with_train(night, published.ref)


def crowned(night: Night, golden: pa.Table, version: int) -> None:
    """Make the night's model champion, with blessings and golden rows of the attacker's own."""
    store, key, train = night.store, night.plan.interval.key, night.io.upstream["train"]
    digest = night.io.given("train").file("graph.onnx").sha256
    told = blessings.Check("as_told", True, None, None, "Whoever published the model says so.")
    refs = {}
    for kind, dataset in (("quality", "evaluate"), ("infra", "infra")):
        attempt = store.attempt(dataset, key)
        blessing = blessings.Blessing.judged(kind, [told], interval=key, evidence="none", about=digest)
        blessings.write(attempt, blessing)
        if kind == "quality":
            attempt.put_table("golden", golden)
        result = {"champion_version": None, "target": "local", "verdict": "passed"}
        refs[kind] = attempt.publish(stage_key=kind, code="forged", inputs={"train": train}, result=result).ref
    candidate = Candidate(version, digest, night.plan.interval, train, f"run-{version}")
    blessed = Blessed.collect(store, candidate, quality=refs["quality"], infra=refs["infra"])
    entry = Ledger(store).promote_by_hand(blessed, seen=len(Ledger(store).entries()), reason="test", by="test")
    assert isinstance(entry, Entry), entry


def with_train(night: Night, train: Ref) -> Night:
    return replace(night, io=replace(night.io, upstream={**night.io.upstream, "train": train}))

"""A class of one's own as engine: the documentation's goes all the way, and wrong ones say what is wrong."""

from __future__ import annotations

import json
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.fakes.asked_night import answers, asked_spec
from tests.fakes.own_engines import FOREST, docs_code, write_package
from tests.fakes.trained_night import FIRST, Night, small_plan, small_spec, trained_night
from tests.fakes.training_window import given, rows_of

from nightshift import evaluate, train
from nightshift.errors import DataError, JobError, ModelError, NightshiftError, ParityError, SpecError
from nightshift.jobs.runner import run_stage
from nightshift.model.session import Scorer
from nightshift.register.parity_gate import require_parity
from nightshift.spec.models import Training
from nightshift.stage import StageResult
from nightshift.train.engines.own import OwnEngine
from nightshift.train.own_code import code_of

pytestmark = pytest.mark.thorough

PARAMS = {"n_estimators": 15, "max_depth": 6}
# What a class needs besides its own lines: a model of the last feature, which has no missing values.
SMALL = """
import time

import numpy as np
from onnx import TensorProto, helper

from nightshift.train.engines import Fitted, OnnxModelHead


class Small:
    def fit(self, window, training, *, threads, asked):
        window.arrays()
        return self.answer(window, training, asked)

    def answer(self, window, training, asked, **changes):
        last = helper.make_tensor("last", TensorProto.INT64, [], [window.width - 1])
        nodes = [helper.make_node("Gather", ["x", "last"], ["lane"], axis=1), helper.make_node("Sigmoid", ["lane"], ["y"])]
        value = helper.make_tensor_value_info
        graph = helper.make_graph(nodes, "small", [value("x", TensorProto.FLOAT, ["N", window.width])], [value("y", TensorProto.FLOAT, ["N"])], [last])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)])
        fitted = {
            "head": OnnxModelHead(model, window.label.task, window.width),
            "scores": (1 / (1 + np.exp(-asked[:, -1]))).astype(np.float32),
            "engine_version": "1",
            "params": dict(training.params),
            "size": "nothing",
            "threshold": 0.5,
            "seconds": 0.0,
        }
        return Fitted(**{**fitted, **changes})
"""


def own_night(root: Path, task: str) -> Night:
    """A night of ``task`` that the documentation's engine trained."""
    spec, changes = (small_spec(), {}) if task == "binary" else (asked_spec(task), {})
    if task != "binary":
        changes = {"holdout": answers(task), "training": answers(task)}
    training = Training(engine=FOREST, params=PARAMS, seed=3)
    return trained_night(
        root, plan=small_plan(root, FIRST, spec=spec.model_copy(update={"training": training})), **changes
    )


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_documentations_engine_passes_parity_and_gates(tmp_path: Path, importable: Path, task: str) -> None:
    write_package(importable, docs_code())

    night = own_night(tmp_path, task)

    trained = night.io.given("train")
    graph, card = (night.store.read(trained, name) for name in ("graph.onnx", "model.json"))
    about = json.loads(card)
    assert (about["engine"], about["params"], about["size"]) == (FOREST, PARAMS, "15 trees")
    assert trained.result["engine"] == FOREST
    assert max(about["importances"], key=about["importances"].get) == "weight"
    parity = require_parity(night.io, Scorer.load(graph, digest=about["graph_sha256"]))
    assert (parity.rows, parity.max_diff < 1e-4) == (753, True)
    _, result = night.run(evaluate)
    assert result.status == "succeeded", result.reason


def stage_of(root: Path, engine: str, *, rows: int = 400, **training: Any) -> StageResult:
    plan, io = given(root, rows_of(rows), engine=engine, **{"params": {}, **training})
    return train.run(plan, io)


# -- what counts in the stage key ----------------------------------------------------------------------


def test_any_file_of_the_package_and_whatever_it_imports_count(
    tmp_path: Path, importable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = SMALL + "\n    def unused(self):\n        import neighbour, sklearn\n"
    module = write_package(importable, code, package="home.inner")
    (importable / "home" / "__init__.py").touch()
    (importable / "neighbour.py").write_text("import second\n")
    (importable / "second.py").write_text("NUMBER = 1\n")
    plan, io = given(tmp_path, rows_of(400), engine=f"{module}:Small", params={})
    first = train.run(plan, io)
    known = OwnEngine.of(f"{module}:Small").digest()

    def again() -> bool:
        return OwnEngine.of(f"{module}:Small").digest() == known

    for changed in ("home/inner/engines.py", "home/__init__.py", "home/table.csv", "neighbour.py", "second.py"):
        path = importable / changed
        before = path.read_bytes() if path.exists() else None
        path.write_bytes((before or b"") + b"\n# changed\n")
        assert not again(), changed
        path.unlink() if before is None else path.write_bytes(before)
        assert again(), changed
    (importable / "alone.py").write_text("NUMBER = 1\n")
    (importable / "home" / "__pycache__").mkdir(exist_ok=True)
    (importable / "home" / "__pycache__" / "engines.pyc").write_bytes(b"compiled")
    assert again()
    assert train.run(plan, io).reused
    with monkeypatch.context() as changed_versions:
        changed_versions.setattr(
            "nightshift.train.own_code.library_versions", lambda names: dict.fromkeys(names, "new")
        )
        assert not again()
    (importable / "second.py").write_text("NUMBER = 2\n")
    fresh = train.run(plan, io)
    assert not fresh.reused
    assert fresh.ref != first.ref


def test_namespaces_are_passed_by_and_zips_are_read(
    tmp_path: Path, importable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_package(importable, SMALL + "\n\nfrom shared import used\n", package="shared.mine")
    for other in ("used", "not_used"):
        (importable / "shared" / other).mkdir()
        (importable / "shared" / other / "__init__.py").touch()
    assert not (importable / "shared" / "__init__.py").exists()
    OwnEngine.of("shared.mine.engines:Small")
    assert sorted(code_of("shared.mine.engines")) == ["numpy", "onnx", "shared.mine/", "shared.used/"]

    write_package(importable, SMALL, package="plain")
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive:
        for name in ("__init__.py", "engines.py"):
            archive.write(importable / "plain" / name, f"zipped/{name}")
    monkeypatch.syspath_prepend(tmp_path / "mine.zip")
    OwnEngine.of("zipped.engines:Small")
    assert sorted(code_of("zipped.engines")) == ["numpy", "onnx", "zipped/"]
    del sys.modules["zipped.engines"], sys.modules["zipped"]


# -- classes that cannot be used: said at the start ----------------------------------------------------

CANNOT = {
    "no_package": ("", "nowhere.engines:Small", r"training\.engine: there is no module nowhere for jobs on this machine"),
    "no_module": ("", "my_package.other:Small", r"there is no module my_package\.other for jobs"),
    "no_class": (SMALL, "my_package.engines:Smal", r"has no class Smal\.\n  Hint: did you mean Small\?"),
    "a_function": ("def small(): pass", "my_package.engines:small", "has no class small"),
    "no_fit": ("class Small: pass", "my_package.engines:Small", r"has no method fit\.\n  Hint: it is def fit\(self, window"),
    "other_fit": (
        "class Small:\n    def fit(self, features, labels): pass",
        "my_package.engines:Small",
        r"Small\.fit cannot be called: got an unexpected keyword argument 'threads'",
    ),
    "arguments": (
        "class Small:\n    def __init__(self, depth): pass",
        "my_package.engines:Small",
        r"cannot be made without arguments: TypeError: .*missing 1 required positional argument: 'depth'",
    ),
    "no_library": (
        "import json\nimport no_such_library",
        "my_package.engines:Small",
        r"cannot be imported: ModuleNotFoundError: No module named 'no_such_library' \(engines\.py, line 2, in <module>\)",
    ),
    "syntax": ("class Small\n", "my_package.engines:Small", r"cannot be imported: SyntaxError: expected ':' \(engines\.py, line 1\)"),
    "parameter": (
        SMALL + "\n\nfrom nightshift.train.engines import Parameters, Whole\n\n"
        "Small.parameters = Parameters({'depth': Whole(1, 9)}, by_task={'binary': {'depth': Whole(1, 3)}})",
        "my_package.engines:Small",
        r"(?s)refuses its parameters:\ntraining\.params\.dept: dept is no parameter .* Hint: did you mean depth\?\n"
        r"training\.params\.depth: 5 is not a whole number from 1 to 3",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CANNOT)
def test_a_class_that_cannot_be_used_ends_the_night_in_its_first_job(
    tmp_path: Path, importable: Path, case: str
) -> None:
    code, engine, words = CANNOT[case]
    write_package(importable, code)
    params = {"dept": 1, "depth": 5} if case == "parameter" else {}
    plan, io = given(tmp_path, rows_of(40), engine=engine, params=params)

    outcome = run_stage("ingest", plan, {})
    assert isinstance(outcome, SpecError)
    assert outcome.retryable is False
    with pytest.raises(SpecError, match=words):
        raise outcome
    with pytest.raises(SpecError, match=words):
        train.run(plan, io)


# -- classes that do something wrong when they train ---------------------------------------------------

DOES = {
    "raises": ("raise ValueError('x' * 1000)", JobError, r"Own failed while training: ValueError: x{299}… \(engines\.py, line \d+, in answer\)"),
    "raises_deeper": ("return json.loads('{')", JobError, r"JSONDecodeError: .* \(engines\.py, line \d+, in answer\)"),
    "knows_better": ("raise DataError('too few')", DataError, "^too few$"),
    "gives_nothing": ("return None", ModelError, r"Own gave a NoneType; fit gives back a Fitted"),
    "scores_of_classes": ("return self.be(scores=np.zeros((250, 2)))", ModelError, r"shape \[250, 2\], and \[250\] was asked for \(the probability of"),
    "fewer_scores": ("return self.be(scores=np.zeros(3))", ModelError, r"shape \[3\], and \[250\] was asked"),
    "a_list": ("return self.be(scores=[0.5] * 250)", ModelError, "scores must be an array of float32, not list"),
    "labels": ("return self.be(scores=np.zeros(250, np.int8))", ModelError, "array of float32, not int8"),
    "nan": ("scores = np.zeros(250); scores[7:9] = np.nan; return self.be(scores=scores)", ModelError, "2 of 250 scores are no finite float32 numbers, the first in row 7"),
    "too_large": ("return self.be(scores=np.full(250, 1e300))", ModelError, "250 of 250 scores are no finite"),
    "margins": ("return self.be(scores=np.full(250, -3.0))", ModelError, "scores go from -3 to -3, and probabilities from 0 to 1"),
    "no_threshold": ("return self.be(threshold=None)", ModelError, "threshold must be a number above 0 and at most 1, not None"),
    "another_threshold": ("return self.be(threshold=0.4)", ModelError, r"threshold is 0.4, and training\.threshold is 0.5"),
    "few_importances": ("return self.be(importances=np.ones(3))", ModelError, r"importances must be 7 numbers, one for each feature, and not \[3\]"),
    "nan_importance": ("return self.be(importances=np.array([1, 2, np.inf, 1, 1, 1, 1.0]))", ModelError, "importances must be finite; number 2 is not"),
    "no_head": ("return self.be(head=object())", ModelError, "head must have onnx_nodes, and a object has none"),
    "artifact_path": ("return self.be(artifacts={'../x': b''})", ModelError, r"artifacts must be bytes by file name; '\.\./x'"),
    "artifact_taken": ("return self.be(artifacts={'graph.onnx': b''})", ModelError, "its name is taken"),
    "params": ("return self.be(params={'depth': np.float32(3)})", ModelError, "params must be numbers, texts or booleans by name; depth"),
    "all_at_once": ("return self.be(size='', seconds=float('nan'), engine_version=None)", ModelError, "engine_version must be a text, not None; size must be a text, not ''; seconds must be"),
    "not_a_model": ("return self.be(head=OnnxModelHead(b'', 'binary', 7))", ModelError, r"an onnx\.ModelProto was expected, not a bytes"),
    "other_output": ("return self.be(head=Forgetful())", ModelError, "what was learned gives no valid graph: "),
    "breaks_in_head": ("return self.be(head=Broken())", JobError, r"Own failed while making its graph: KeyError: 'coef' \(engines\.py, line \d+, in onnx_nodes\)"),
}  # fmt: skip
OWN = """

import json
from nightshift.errors import DataError

class Forgetful:
    def onnx_nodes(self, graph, features, *, output):
        return output

class Broken:
    def onnx_nodes(self, graph, features, *, output):
        return {}["coef"]

class Own(Small):
    def answer(self, window, training, asked):
        self.be = lambda **changes: super(Own, self).answer(window, training, asked, **changes)
        {does}
"""


@pytest.mark.parametrize("case", DOES)
def test_what_own_code_does_wrong_is_said(tmp_path: Path, importable: Path, case: str) -> None:
    does, kind, words = DOES[case]
    module = write_package(importable, SMALL + OWN.replace("{does}", does))

    with pytest.raises(NightshiftError, match=words) as caught:
        stage_of(tmp_path, f"{module}:Own", threshold=0.5)

    assert type(caught.value) is kind


def test_a_traceback_is_in_the_log(tmp_path: Path, importable: Path, caplog: pytest.LogCaptureFixture) -> None:
    module = write_package(importable, SMALL + OWN.replace("{does}", "raise ValueError('wrong')"))
    with pytest.raises(JobError):
        stage_of(tmp_path, f"{module}:Own")
    (record,) = [record for record in caplog.records if record.exc_info]
    assert record.exc_info is not None
    assert record.exc_info[0] is ValueError
    assert record.getMessage() == f"train: {module}:Own failed while training"


def test_a_head_that_says_something_else_than_its_library_does_not_ship(tmp_path: Path, importable: Path) -> None:
    lies = "scores = np.full(250, 0.5, np.float32); return self.be(scores=scores)"
    module = write_package(importable, SMALL + OWN.replace("{does}", lies))
    plan, io = given(tmp_path, rows_of(400), engine=f"{module}:Own", params={})
    result = train.run(plan, io)
    assert result.ref is not None
    judged = replace(io, upstream={**io.upstream, "train": result.ref})
    with pytest.raises(ParityError, match=r"the ONNX graph and the trained model, on the probe rows of .* disagree"):
        require_parity(judged, Scorer.load(io.store.read(io.store.resolve(result.ref), "graph.onnx")))


def test_one_class_in_the_window_is_refused_for_every_engine(tmp_path: Path, importable: Path) -> None:
    write_package(importable, docs_code())
    table = rows_of(400)
    ones = table.set_column(table.schema.get_field_index("__label"), "__label", pa.array([1] * 400, pa.int8()))
    for engine in ("xgboost", FOREST):
        plan, io = given(tmp_path / engine.replace(":", "_"), ones, engine=engine, params={})
        with pytest.raises(DataError, match="has positives only; a model needs positives and negatives"):
            train.run(plan, io)


def test_an_engine_is_asked_with_the_seed_and_threads_of_the_plan(tmp_path: Path, importable: Path) -> None:
    noted = "self.seen = (training.seed, dict(training.params)); return self.be(params={'seed': training.seed, **training.params})"
    module = write_package(importable, SMALL + OWN.replace("{does}", noted))
    plan, io = given(
        tmp_path, rows_of(400), engine=f"{module}:Own", params={"a": 1, "b": "x", "c": True, "d": 0.5}, seed=8
    )
    result = train.run(replace(plan, threads=1), io)
    assert result.ref is not None
    card = json.loads(io.store.read(io.store.resolve(result.ref), "model.json"))
    assert card["params"] == {"seed": 8, "a": 1, "b": "x", "c": True, "d": 0.5}
    assert "importances" not in card
    assert card["artifacts"] == {}

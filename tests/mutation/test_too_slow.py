"""A version that answers right and takes too long: the infra gate refuses it by what it measures itself."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.fakes.forged import republished
from tests.fakes.trained_night import FIRST, Night, promote, trained_night

from nightshift import evaluate
from nightshift.deploy import infra
from nightshift.deploy.targets.local import LocalTarget
from nightshift.errors import InfraCheckFailed, NotBlessed
from nightshift.ledger import Blessed, Candidate, blessings
from nightshift.model.session import Scorer
from nightshift.spec.deploy import Deploy

SECOND = FIRST + timedelta(days=1)
WIDTH = 500


def with_needless_work(graph: bytes) -> bytes:
    """The same scores, after multiplying matrices of 500 by 500 that depend on the request: some milliseconds a row,
    where the trees take some hundredths of one."""
    model = onnx.load_model_from_string(graph)
    for node in model.graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == "probability":
                    names[place] = "quick"
    number = next(one.name for one in model.graph.input if one.type.tensor_type.elem_type == TensorProto.FLOAT)
    model.graph.initializer.extend(
        [
            numpy_helper.from_array(np.array([WIDTH, WIDTH], np.int64), "shape"),
            numpy_helper.from_array(np.array(0, np.float32), "zero"),
        ]
    )
    model.graph.node.extend(
        [
            helper.make_node("IsNaN", [number], ["missing"]),
            helper.make_node("Cast", ["missing"], ["numbers"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMax", ["numbers"], ["largest"], keepdims=1),
            helper.make_node("Expand", ["largest", "shape"], ["matrix"]),
            helper.make_node("MatMul", ["matrix", "matrix"], ["product"]),
            helper.make_node("ReduceMax", ["product"], ["work"], keepdims=0),
            helper.make_node("Mul", ["work", "zero"], ["nothing"]),
            helper.make_node("Add", ["quick", "nothing"], ["probability"]),
        ]
    )
    return model.SerializeToString()


@dataclass(frozen=True)
class Slow:
    """A judged night whose model is slow, and the champion that it was judged against."""

    night: Night
    candidate: Candidate

    def bless(self, bounds: Deploy, scratch: Path) -> Any:
        quality = self.night.io.upstream["evaluate"]
        return infra.bless(self.night.store, self.candidate, quality, LocalTarget(), bounds, scratch=scratch)

    def blessing(self) -> tuple[Any, blessings.Blessing]:
        found = self.night.store.latest("infra", self.night.plan.interval.key)
        assert found is not None
        return found, blessings.read(self.night.store, found)


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Slow:
    root = tmp_path_factory.mktemp("slow")
    promote(trained_night(root).run(evaluate)[0], 1)
    honest = trained_night(root, SECOND)
    graph = with_needless_work(honest.store.read(honest.io.given("train"), "graph.onnx"))
    night, result = republished(honest, graph).run(evaluate)
    assert result.status == "succeeded", result.reason
    candidate = Candidate(2, Scorer.load(graph).digest, night.plan.interval, night.io.upstream["train"], "run-2")
    return Slow(night, candidate)


def bounds(**latency: Any) -> Deploy:
    return Deploy.model_validate({"target": "local", "latency": latency})


@pytest.mark.parametrize(
    ("given", "check"),
    [
        ({"budget": "60s", "versus_champion": 1.5}, "latency_champion"),
        ({"budget": "1ms", "versus_champion": 1e6}, "latency"),
    ],
    ids=["than the champion", "for the budget"],
)
def test_too_slow(slow: Slow, given: dict[str, Any], check: str, tmp_path: Path) -> None:
    with pytest.raises(InfraCheckFailed, match="calls of one row took at most"):
        slow.bless(bounds(**given), tmp_path)
    published, blessing = slow.blessing()
    assert [one.name for one in blessing.failed] == [check]
    evidence = json.loads(slow.night.store.read(published, "infra_check.json"))["latency"]
    assert evidence["calls"] >= 500
    assert evidence["champion_p50_ms"] is not None
    with pytest.raises(NotBlessed, match="the infra blessing of v2 failed"):
        Blessed.collect(
            slow.night.store, slow.candidate, quality=slow.night.io.upstream["evaluate"], infra=published.ref
        )


def test_the_same_version_is_blessed_where_that_much_is_allowed(slow: Slow, tmp_path: Path) -> None:
    """So it is the time, and nothing else, that it is refused for."""
    slow.bless(bounds(budget="60s", versus_champion=1e6), tmp_path)
    assert slow.blessing()[1].verdict == "passed"

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
from tests.fakes.published_night import PublishedNight, plan_of
from tests.unit.cli.conftest import Call


def tiny_graph() -> bytes:
    """A model that answers with sigmoid(dep_delay), and 1 from a half on."""
    from onnx import TensorProto, helper

    inputs = [
        helper.make_tensor_value_info("dep_delay", TensorProto.FLOAT, [None, 1]),
        helper.make_tensor_value_info("carrier", TensorProto.STRING, [None, 1]),
    ]
    outputs = [
        helper.make_tensor_value_info("probability", TensorProto.FLOAT, [None]),
        helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
    ]
    flat = helper.make_tensor("flat", TensorProto.INT64, [1], [-1])
    half = helper.make_tensor("half", TensorProto.FLOAT, [], [0.5])
    nodes = [
        helper.make_node("Sigmoid", ["dep_delay"], ["column"]),
        helper.make_node("Reshape", ["column", "flat"], ["probability"]),
        helper.make_node("GreaterOrEqual", ["probability", "half"], ["is_positive"]),
        helper.make_node("Cast", ["is_positive"], ["label"], to=TensorProto.INT64),
    ]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, initializer=[flat, half])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


@pytest.fixture
def champion(site: Path) -> PublishedNight:
    """A night whose model can really be scored."""
    night = PublishedNight(plan_of(site, date(2013, 6, 26)), graph=tiny_graph(), days=3)
    night.publish()
    return night


def test_a_row(call: Call, champion: PublishedNight) -> None:
    called = call("predict", "flight_delays", '{"dep_delay": 0, "carrier": "UA"}')
    assert (called.code, called.err) == (0, "")
    assert json.loads(called.out) == {
        "probability": 0.5,
        "label": 1,
        "model_version": 1,
        "model_digest": champion.digest,
    }


def test_rows_from_standard_input(call: Call, champion: PublishedNight) -> None:
    rows = [{"dep_delay": 40, "carrier": "UA"}, {"dep_delay": -40.5, "carrier": None}]
    found = json.loads(call("predict", "flight_delays", "-", stdin=json.dumps(rows)).out)
    assert [one["label"] for one in found] == [1, 0]


def test_an_example_can_be_scored(call: Call, champion: PublishedNight) -> None:
    example = call("predict", "flight_delays", "--example").out
    assert json.loads(example) == {"dep_delay": 2.5, "carrier": "UA"}
    assert json.loads(call("predict", "flight_delays", example).out)["probability"] == pytest.approx(0.924, abs=1e-3)


class TestMistakes:
    def test_missing_fields_are_named_with_the_schema(self, call: Call, champion: PublishedNight) -> None:
        called = call("predict", "flight_delays", '{"carrier": "UA"}')
        assert called.code == 65
        assert "the row lacks dep_delay (numeric)." in called.err
        assert "a row is {dep_delay: number or null, carrier: text or null}" in called.err

    def test_the_second_of_several_rows(self, call: Call, champion: PublishedNight) -> None:
        called = call("predict", "flight_delays", '[{"dep_delay": 1, "carrier": "UA"}, {"dep_delay": 1}]')
        assert "row 2 lacks carrier (categorical)." in called.err

    def test_unknown_fields(self, call: Call, champion: PublishedNight) -> None:
        called = call("predict", "flight_delays", '{"dep_delay": 1, "carrier": "UA", "arr_delay": 3}')
        assert "has arr_delay, which the model does not know" in called.err

    @pytest.mark.parametrize(
        ("row", "words"),
        [
            ('{"dep_delay": "late", "carrier": "UA"}', '"late" in dep_delay, which must be a number or null'),
            ('{"dep_delay": true, "carrier": "UA"}', "true in dep_delay, which must be a number or null"),
            ('{"dep_delay": 1, "carrier": 7}', "7 in carrier, which must be text or null"),
            ('{"dep_delay": NaN, "carrier": "UA"}', "the row has NaN, which is not JSON"),
            ('{"dep_delay": 1e999, "carrier": "UA"}', "a number in dep_delay that float32 cannot hold"),
            ('{"dep_delay": -4e38, "carrier": "UA"}', "a number in dep_delay that float32 cannot hold"),
            (f'{{"dep_delay": 1{"0" * 400}, "carrier": "UA"}}', "a number in dep_delay that float32 cannot hold"),
            ('{"dep_delay": 1, "carrier": "\\ud800"}', "half of a surrogate pair"),
            ('{"dep_delay": 1, "carrier": "UA", "dep_delay": 2}', 'the row has "dep_delay" twice'),
        ],
    )
    def test_values_of_the_wrong_type(self, call: Call, champion: PublishedNight, row: str, words: str) -> None:
        called = call("predict", "flight_delays", row)
        assert (called.code, words in called.err) == (65, True)

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("{'dep_delay': 1}", "is not JSON"),
            ("[]", "a list of objects"),
            ("3", "a row is a JSON object"),
            ("", "is not JSON"),
            ("[" * 100_000, "not lists within lists"),
        ],
    )
    def test_text_that_is_no_row(self, call: Call, champion: PublishedNight, text: str, words: str) -> None:
        called = call("predict", "flight_delays", "-", stdin=text)
        assert (called.code, words in called.err) == (65, True)

    def test_no_champion_yet(self, call: Call) -> None:
        called = call("predict", "flight_delays", "{}")
        assert called.code == 66
        assert "flight_delays has no champion yet" in called.err
        assert "nightshift run flight_delays --night" in called.err

    def test_a_model_that_was_changed_after_its_promotion(self, call: Call, champion: PublishedNight) -> None:
        manifest = champion.store.latest("train", champion.plan.interval.key)
        assert manifest is not None
        champion.store.objects.write(f"{manifest.folder}/graph.onnx", b"evil")
        called = call("predict", "flight_delays", '{"dep_delay": 0, "carrier": "UA"}')
        assert called.code == 67
        assert "graph.onnx" in called.err

"""The law of transforms: for the same rows, Spark and ONNX give the same bits."""

from __future__ import annotations

import decimal
from collections.abc import Iterator

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pytest
from onnx import TensorProto, helper

from nightshift import spark as nightshift_spark
from nightshift.errors import PrepareError
from nightshift.model.booster import feature_matrix
from nightshift.model.request import request_arrays
from nightshift.spec.models import Features
from nightshift.transforms import OnnxGraph, Transforms

# Py4J leaves its sockets to the garbage collector.
pytestmark = [pytest.mark.jvm, pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")]

EDGES = [-40.0, 0.0, 0.1, 15.0, 1e6]
CHAINS = {
    "plain": [],
    "median": [{"kind": "impute"}],
    "mean": [{"kind": "impute", "strategy": "mean"}],
    "constant": [{"kind": "impute", "strategy": "constant", "value": -1.5}],
    "bounds": [{"kind": "clip", "bounds": [-40, 0.1]}],
    "low_only": [{"kind": "clip", "bounds": [0.1, float("inf")]}],
    "quantiles": [{"kind": "clip", "quantiles": [0.01, 0.99]}],
    "scale": [{"kind": "clip", "bounds": [-1e9, 1e9]}, {"kind": "scale"}],
    "scale_raw": [{"kind": "scale"}],
    "log": [{"kind": "log"}],
    "buckets": [{"kind": "bucketize", "edges": EDGES}],
    "everything": [
        {"kind": "impute"},
        {"kind": "clip", "quantiles": [0.02, 0.98]},
        {"kind": "log"},
        {"kind": "scale"},
        {"kind": "bucketize", "edges": [-1, 0, 0.5, 1]},
    ],
}
ODD_LEVELS = ["AA", "aa", "AA ", "it's", 'say "hi"', "back\\slash", "\\u0041", "${env:HOME}", "%_", "`tick`", "æøå", "👩‍🚀", "a\nb\tc", "--", "null", "\x7f"]  # fmt: skip


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    with nightshift_spark.session("parity", threads=2, scratch=tmp_path_factory.mktemp("spark")) as session:
        yield session


def awkward_numbers(rng: np.random.Generator, rows: int) -> np.ndarray:
    """Doubles that a float32 pipeline finds hard, then ordinary ones of many magnitudes."""
    near = np.array(EDGES, np.float32)
    special = np.concatenate(
        [
            [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e300, -1e300, 1e-300, 5e-324, 16777217.0, 0.1, 3.4028235677973366e38],
            np.array([np.finfo(np.float32).max, np.finfo(np.float32).tiny, 1e-45], np.float64),
            near.astype(np.float64),
            np.nextafter(near, np.float32(np.inf)).astype(np.float64),
            np.nextafter(near, np.float32(-np.inf)).astype(np.float64),
        ]
    )
    ordinary = rng.normal(size=rows) * 10.0 ** rng.integers(-8, 9, size=rows)
    return np.concatenate([special, -special, ordinary])[:rows]


def awkward_table(rows: int = 4000) -> pa.Table:
    rng = np.random.default_rng(7)
    columns: dict[str, pa.Array] = {}
    for name in CHAINS:
        columns[name] = pa.array(rng.permutation(awkward_numbers(rng, rows)), mask=rng.random(rows) < 0.1)
    whole = rng.integers(-(2**62), 2**62, rows)
    columns["bigint_"] = pa.array(whole, pa.int64(), mask=rng.random(rows) < 0.1)
    columns["int_"] = pa.array(whole % 1000, pa.int32())
    with np.errstate(over="ignore"):
        columns["float_"] = pa.array(awkward_numbers(rng, rows).astype(np.float32), pa.float32())
    columns["boolean_"] = pa.array(rng.random(rows) < 0.5, mask=rng.random(rows) < 0.1)
    columns["decimal_"] = pa.array(
        [decimal.Decimal(int(value)).scaleb(-6) for value in whole], pa.decimal128(38, 6), mask=rng.random(rows) < 0.1
    )
    columns["nothing"] = pa.nulls(rows, pa.float64())
    columns["same"] = pa.array(np.full(rows, 0.1))
    odd = np.array([*ODD_LEVELS, "", None, "unseen later"], object)
    columns["odd"] = pa.array(odd[rng.integers(len(odd), size=rows)], pa.string())
    columns["odd_index"] = columns["odd"]
    columns["many"] = pa.array([f"level {number}" for number in rng.integers(700, size=rows)])
    columns["empty"] = pa.nulls(rows, pa.string())
    columns["empty_index"] = pa.nulls(rows, pa.string())
    return pa.table({"id": pa.array(range(rows)), **columns})


def declared() -> Transforms:
    numeric = [*CHAINS, "bigint_", "int_", "float_", "boolean_", "decimal_", "nothing", "same"]
    return Transforms.declare(
        Features(
            numeric=numeric,
            categorical=["odd", "odd_index", "many", "empty", "empty_index"],
            transforms={
                **{name: steps for name, steps in CHAINS.items() if steps},
                "bigint_": [{"kind": "scale"}],
                "nothing": [{"kind": "impute"}, {"kind": "clip", "quantiles": [0.1, 0.9]}, {"kind": "scale"}],
                "same": [{"kind": "scale"}],
                "odd_index": [{"kind": "index"}],
                "empty_index": [{"kind": "index"}],
                "many": [{"kind": "one_hot", "max_levels": 500}],
            },
        )
    )


def by_onnx(transforms: Transforms, table: pa.Table) -> np.ndarray:
    graph = OnnxGraph()
    output = transforms.onnx_nodes(graph)
    types = {"numeric": TensorProto.FLOAT, "categorical": TensorProto.STRING}
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "transforms",
            [helper.make_tensor_value_info(name, types[kind], ["N", 1]) for name, kind in transforms.request_columns],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", len(transforms.feature_names)])],
            initializer=graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 3)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, request_arrays(table, transforms.request_columns))[0]


def by_spark(transforms: Transforms, frame: object) -> np.ndarray:
    found = frame.selectExpr("id", f"{transforms.spark_columns()} AS features").orderBy("id").toArrow()
    return feature_matrix(found.column("features"), len(transforms.feature_names))


def assert_same_bits(transforms: Transforms, left: np.ndarray, right: np.ndarray) -> None:
    assert left.shape == right.shape
    bits = [np.where(np.isnan(side), np.float32(np.nan), side).view(np.uint32) for side in (left, right)]
    rows, places = np.nonzero(bits[0] != bits[1])
    examples = [
        f"{transforms.feature_names[place]}[{row}]: {left[row, place]!r} != {right[row, place]!r}"
        for row, place in list(zip(rows, places, strict=True))[:10]
    ]
    assert not examples, f"{len(rows)} of {left.size} differ: {examples}"


def test_spark_and_onnx_give_the_same_bits_for_every_transform(spark: object) -> None:
    table = awkward_table()
    frame = spark.createDataFrame(table).where("id % 3 <> 0 AND coalesce(odd, '') <> 'unseen later'")
    transforms = declared().fit(frame)
    everything = spark.createDataFrame(table)

    vectors = by_spark(transforms, everything)

    assert vectors.dtype == np.float32
    assert not np.isinf(vectors).any()
    assert_same_bits(transforms, vectors, by_onnx(transforms, table))
    reread = Transforms.from_json(transforms.to_json())
    assert reread.spark_columns() == transforms.spark_columns()


def test_categories_that_training_did_not_see_are_all_zeros_or_minus_one(spark: object) -> None:
    frame = spark.createDataFrame(pa.table({"id": [0, 1, 2, 3], "a": ["x", "y", "", None], "b": ["x", "y", "", None]}))
    features = Features(categorical=["a", "b"], transforms={"b": [{"kind": "index"}]})
    transforms = Transforms.declare(features).fit(frame)
    later = spark.createDataFrame(pa.table({"id": [0, 1, 2, 3], "a": ["y", "z", "", None], "b": ["y", "z", "", None]}))

    assert transforms.feature_names == ("a=x", "a=y", "b")
    assert by_spark(transforms, later).tolist() == [[0, 1, 1], [0, 0, -1], [0, 0, -1], [0, 0, -1]]


def test_statistics_are_exact_and_do_not_depend_on_partitions(spark: object) -> None:
    rng = np.random.default_rng(1)
    values = (1e6 + rng.gamma(2.0, 3.0, 5001)).astype(np.float32)
    levels = rng.choice(["b", "a", "c", "d"], p=[0.3, 0.3, 0.3, 0.1], size=5001)
    table = pa.table({"median": values, "mean": values, "clip": values, "scale": values, "level": levels})
    features = Features(
        numeric=["median", "mean", "clip", "scale"],
        categorical=["level"],
        transforms={
            "median": [{"kind": "impute"}],
            "mean": [{"kind": "impute", "strategy": "mean"}],
            "clip": [{"kind": "clip", "quantiles": [0.05, 0.95]}],
            "scale": [{"kind": "scale"}],
            "level": [{"kind": "one_hot", "max_levels": 3}],
        },
    )
    frame = spark.createDataFrame(table)

    fitted = Transforms.declare(features).fit(frame.coalesce(1))
    elsewhere = Transforms.declare(features).fit(frame.orderBy("level", "median").repartition(5))

    assert fitted.to_json() == elsewhere.to_json()
    exact = values.astype(np.float64)
    steps = {column.name: column.steps[0] for column in fitted.numeric}
    assert steps["median"].value == np.median(values)
    assert steps["mean"].value == np.float32(exact.mean())
    assert (steps["clip"].low, steps["clip"].high) == tuple(np.quantile(exact, [0.05, 0.95]).astype(np.float32))
    assert steps["scale"].mean == pytest.approx(exact.mean(), rel=1e-15)
    assert steps["scale"].deviation == pytest.approx(exact.std(), rel=1e-12)
    assert len(fitted.categorical[0].levels) == 3
    assert "d" not in fitted.categorical[0].levels


def test_level_ties_are_decided_by_name(spark: object) -> None:
    frame = spark.createDataFrame(pa.table({"level": ["b", "a", "c", "c"]}))
    features = Features(categorical=["level"], transforms={"level": [{"kind": "one_hot", "max_levels": 2}]})

    assert Transforms.declare(features).fit(frame).feature_names == ("level=a", "level=c")


@pytest.mark.parametrize(
    ("features", "words"),
    [
        (Features(numeric=["gone"]), "gone, which prepare does not give"),
        (Features(numeric=["text"]), "features.numeric names text, but prepare gives it as string"),
        (Features(categorical=["number"]), "features.categorical names number, but prepare gives it as bigint"),
    ],
)
def test_columns_of_the_wrong_type_are_refused(spark: object, features: Features, words: str) -> None:
    frame = spark.createDataFrame(pa.table({"text": ["1"], "number": [1]}))

    with pytest.raises(PrepareError, match=words):
        Transforms.declare(features).fit(frame)


def test_nothing_to_learn_from_is_refused(spark: object) -> None:
    frame = spark.createDataFrame(pa.table({"text": pa.nulls(3, pa.string())}))

    with pytest.raises(PrepareError, match="nothing to learn from"):
        Transforms.declare(Features(categorical=["text"])).fit(frame)

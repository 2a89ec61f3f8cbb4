"""Preprocess on small snapshots: what it publishes, what it counts, what it refuses and in which words."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from tests.fakes.toy_night import (
    HOLDOUT_DAYS,
    PER_DAY,
    PLACES,
    SPEC,
    SQL,
    TRAIN_DAYS,
    UTC_US,
    ToyNight,
    all_days,
    day_rows,
)

from nightshift.errors import DataError, IntegrityError, PrepareError
from nightshift.stage import StageResult
from nightshift.transforms import Transforms

# Py4J leaves its sockets to the garbage collector.
pytestmark = [
    pytest.mark.jvm,
    pytest.mark.usefixtures("spark"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]

Run = Callable[..., StageResult]


@pytest.fixture
def world(tmp_path: Path) -> ToyNight:
    return ToyNight(tmp_path)


# -- what is published ------------------------------------------------------------------------------------


def test_tables_have_the_promised_shape(world: ToyNight) -> None:
    result = world.preprocess()

    for name, days in (("train", TRAIN_DAYS), ("holdout", HOLDOUT_DAYS)):
        table = world.table(result, name)
        assert table.column_names == ["at", "id", "__time", "__label", "x", "n", "kind", "size", "__features"]
        assert table.schema.field("__time").type == UTC_US
        assert table.schema.field("__label").type == pa.int8()
        assert table.schema.field("__features").type.value_type == pa.float32()
        assert table.column("__time").equals(table.column("at"))
        assert table.select(["at", "id"]).equals(
            table.select(["at", "id"]).sort_by([("at", "ascending"), ("id", "ascending")])
        )
        assert {moment.date() for moment in table.column("__time").to_pylist()} == set(days)
        rows = pa.concat_tables([day_rows(day) for day in days])
        labelled = rows.filter(pc.is_valid(rows["y"]))
        assert table.column("__label").to_pylist() == [int(value >= 10) for value in labelled["y"].to_pylist()]
    probe = world.table(result, "probe")
    assert probe.schema.names == world.table(result, "train").schema.names
    assert probe.column("__label").null_count == probe.num_rows
    assert probe.num_rows <= 200


def test_features_are_the_declared_transforms_fitted_on_the_training_window(world: ToyNight) -> None:
    result = world.preprocess()
    assert result.ref is not None
    transforms = Transforms.from_json(world.store.read(world.store.resolve(result.ref), "transforms.json"))
    train = world.table(result, "train")
    x = np.sort(train.column("x").drop_null().to_numpy())
    (_, clip), *_ = (column.steps for column in transforms.numeric)

    assert transforms.feature_names == ("x", "n", "size", "kind=a", "kind=b", "kind=c")
    assert result.summary["feature_columns"] == 6
    assert x[0] <= clip.low <= clip.high <= x[-1]
    vectors = np.array(world.table(result, "holdout").column("__features").to_pylist())
    assert clip.low <= vectors[:, 0].min()
    assert vectors[:, 0].max() <= clip.high
    assert vectors[:, 3:].sum(axis=1).tolist() == [
        float(kind is not None) for kind in world.table(result, "holdout").column("kind").to_pylist()
    ]


def test_nothing_of_the_holdout_reaches_the_transforms(world: ToyNight) -> None:
    days = all_days()
    wild = {**days, HOLDOUT_DAYS[0]: days[HOLDOUT_DAYS[0]].set_column(3, "x", pa.array([1e9] * PER_DAY))}
    found = [world.preprocess(given) for given in (days, wild)]
    refs = [result.ref for result in found if result.ref]

    first, second = (world.store.read(world.store.resolve(ref), "transforms.json") for ref in refs)
    assert first == second
    assert refs[0].digest != refs[1].digest


def test_side_tables_may_be_missing_a_row_and_an_inner_join_counts_as_filter(world: ToyNight) -> None:
    result = world.preprocess(tables={"places": PLACES.slice(0, 1)}, prepare_sql=SQL.replace("LEFT JOIN", "JOIN"))

    rows = pa.concat_tables([day_rows(day) for day in (*TRAIN_DAYS, *HOLDOUT_DAYS)])
    kept = rows.filter(pc.equal(rows["kind"], "a"))
    assert result.summary["filtered"] == rows.num_rows - kept.num_rows
    assert result.summary["train_rows"] + result.summary["holdout_rows"] == kept.num_rows - kept["y"].null_count


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_row_is_accounted_for(world: ToyNight, seed: int) -> None:
    days = all_days(seed=seed, unlabelled=0.3)
    summary = world.preprocess(days, prepare_sql=f"{SQL} WHERE s.n <> {seed % 3}").summary

    rows = pa.concat_tables([days[day] for day in (*TRAIN_DAYS, *HOLDOUT_DAYS)])
    kept = rows.filter(pc.not_equal(rows["n"], seed % 3))
    assert summary["rows_in"] == rows.num_rows == 5 * PER_DAY
    assert summary["filtered"] == rows.num_rows - kept.num_rows
    assert summary["unlabelled"] == kept["y"].null_count
    assert summary["positives"] == pc.sum(pc.greater_equal(kept["y"], 10)).as_py()
    parts = ("train_rows", "holdout_rows", "unlabelled", "filtered", "outside")
    assert sum(summary[part] for part in parts) == summary["rows_in"]


def test_the_probe_set_tries_the_corners(world: ToyNight) -> None:
    result = world.preprocess()
    assert result.ref is not None
    transforms = Transforms.from_json(world.store.read(world.store.resolve(result.ref), "transforms.json"))
    probe = world.table(result, "probe").to_pylist()
    features = ("x", "n", "size", "kind")

    assert any(all(row[name] is None for name in features) for row in probe)
    for name in features:
        assert any(row[name] is None and sum(row[other] is not None for other in features) == 3 for row in probe)
    kinds = {row["kind"] for row in probe}
    assert "" in kinds
    assert kinds - {"a", "b", "c", "", None}
    clip = transforms.numeric[0].steps[1]
    for bound in (clip.low, clip.high):
        around = {np.nextafter(np.float32(bound), np.float32(side)) for side in (-np.inf, np.inf)} | {np.float32(bound)}
        assert around <= {np.float32(row["x"]) for row in probe if row["x"] is not None}
    unseen = next(row for row in probe if row["kind"] not in {"a", "b", "c", "", None})
    assert unseen["__features"][3:] == [0.0, 0.0, 0.0]


def test_the_same_night_is_not_computed_twice(world: ToyNight) -> None:
    given = world.validated(all_days(), {"places": PLACES})
    first, second = world.again(given), world.again(given)

    assert (first.reused, second.reused) == (False, True)
    assert first.ref == second.ref


# -- the same bytes from any layout -----------------------------------------------------------------------


def test_content_does_not_depend_on_the_order_of_the_input(tmp_path: Path) -> None:
    days = all_days()
    shuffled = {day: rows.take(random.Random(1).sample(range(PER_DAY), PER_DAY)) for day, rows in days.items()}
    found = []
    for name, given in (("one", days), ("two", shuffled)):
        (tmp_path / name).mkdir()
        world = ToyNight(tmp_path / name)
        result = world.preprocess(given)
        assert result.ref
        found.append((result.ref.digest, world.table(result, "train").drop_columns("__features").to_pylist()))

    assert found[0] == found[1]


def test_content_does_not_depend_on_the_number_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for name, rows_per_file in (("one", 1000), ("many", 20)):
        monkeypatch.setattr("nightshift.preprocess.stage.ROWS_PER_FILE", rows_per_file)
        (tmp_path / name).mkdir()
        world = ToyNight(tmp_path / name)
        result = world.preprocess()
        assert result.ref
        files = [entry.path for entry in world.store.resolve(result.ref).files if entry.path.startswith("train/")]
        found.append((len(files), result.ref.digest, world.table(result, "train").select(["at", "id"]).to_pylist()))

    (one, *first), (many, *second) = found
    assert (one, many) == (1, 4)
    assert first == second


def test_content_does_not_depend_on_the_number_of_threads(world: ToyNight, tmp_path: Path) -> None:
    given = world.validated(all_days(), {"places": PLACES})
    here = world.again(given)
    assert here.ref is not None
    shutil.rmtree(tmp_path / "store" / "dev" / "toy" / "preprocess")
    program = tmp_path / "one_thread.py"
    program.write_text(
        "import json, sys, pathlib\n"
        "from nightshift.plan import Plan\n"
        "from nightshift.preprocess import run\n"
        "from nightshift.stage import StageIO\n"
        "from nightshift.storage import Ref, Store\n"
        "plan = Plan.from_json(pathlib.Path(sys.argv[1]).read_bytes())\n"
        "result = run(plan, StageIO(Store.of(plan), {'validate': Ref(**json.loads(sys.argv[2]))}, pathlib.Path(sys.argv[3])))\n"
        "print(result.reused, result.ref.digest)\n"
    )
    plan = tmp_path / "plan.json"
    plan.write_bytes(replace(world.plan(), threads=1).to_json())
    arguments = [str(plan), json.dumps(vars(given)), str(tmp_path / "one")]
    done = subprocess.run(
        [sys.executable, program, *arguments], check=False, capture_output=True, text=True, timeout=300, cwd=tmp_path
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"False {here.ref.digest}"


def test_days_may_differ_in_the_width_of_a_number_or_have_none(world: ToyNight) -> None:
    days = all_days()
    whole = days[TRAIN_DAYS[0]].set_column(3, "x", pa.array([4] * PER_DAY, pa.int64()))
    # A day without any value of a text column is stored as whatever its reader made of nothing.
    empty = days[TRAIN_DAYS[1]].set_column(5, "kind", pa.nulls(PER_DAY, pa.float64()))
    result = world.preprocess({**days, TRAIN_DAYS[0]: whole, TRAIN_DAYS[1]: empty})

    train = world.table(result, "train")
    assert train.schema.field("x").type == pa.float64()
    assert train.schema.field("kind").type == pa.string()
    first_day = train.filter(pc.equal(pc.day(train["at"]), TRAIN_DAYS[0].day))
    assert set(first_day["x"].to_pylist()) == {4.0}


def test_folders_may_have_spaces_percent_signs_and_letters_beyond_ascii(tmp_path: Path) -> None:
    folder = tmp_path / "my % 20%20 données [x] {y}"
    folder.mkdir()
    result = ToyNight(folder).preprocess()

    assert result.summary["train_rows"] > 0


# -- what is refused --------------------------------------------------------------------------------------


def test_a_join_that_multiplies_rows_names_a_key_and_the_table(world: ToyNight) -> None:
    twice = pa.concat_tables([PLACES, pa.table({"kind": ["b"], "size": pa.array([9], pa.int64())})])
    with pytest.raises(PrepareError) as caught:
        world.preprocess(tables={"places": twice})

    message = str(caught.value)
    assert "toy.sql: the SQL multiplies rows" in message
    assert "1 in, 2 out" in message
    assert "at=2024-03-04 " in message
    assert "places on (kind): 2 rows with kind=b" in message
    assert world.store.versions("preprocess", "2024-03-09") == []


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT s.at, s.id, s.y,\n  s.x s.n FROM source s", ["toy.sql, line 2", "Syntax error", "    s.x s.n"]),
        (SQL.replace("p.size", "p.seize"), ["toy.sql, line 2", "p`.`seize", "\n           ^"]),
        (SQL.replace("places", "plaices"), ["toy.sql, line 4", "plaices"]),
        (SQL.replace("s.x", "CAST(s.kind AS INT) AS x"), ["toy.sql, line 1", "CAST_INVALID_INPUT"]),
        (SQL.replace("s.x", "1 / s.n AS x"), ["toy.sql, line 1", "DIVIDE_BY_ZERO"]),
        (SQL.replace("s.x", "rand() AS x"), ["changes from run to run"]),
        (SQL.replace("s.id, ", ""), ["lacks id (key)", "the output has at, y, x"]),
        (SQL.replace("s.at, ", ""), ["lacks at (key)"]),
        (SQL.replace("s.y, ", ""), ["lacks y (label)"]),
        (SQL.replace("s.x, ", ""), ["features names x, which prepare does not give"]),
        (SQL.replace("s.x", "s.kind AS x"), ["features.numeric names x", "string"]),
        (SQL.replace("s.kind,", "s.n AS kind,"), ["features.categorical names kind", "bigint"]),
        (SQL.replace("s.y", "s.kind AS y"), ["the label y is string", ">= 10"]),
        (SQL.replace("s.id", "string(s.id) AS id"), ["id is bigint in the source and string in the output"]),
        (SQL.replace("s.x", "s.x, s.n AS X"), ["more than once"]),
        (SQL.replace("s.x", "s.x, 1 AS __label"), ["a name that Nightshift uses itself"]),
        (SQL.replace("s.at", "s.at + INTERVAL 1 MINUTE AS at"), ["invents rows", "at=2024-03-04 00:01:00"]),
        (SQL.replace("s.id", "s.id + 1000 AS id"), ["invents rows", "id=1000"]),
    ],
)
def test_a_fault_of_the_sql_names_its_place(world: ToyNight, sql: str, words: list[str]) -> None:
    with pytest.raises(PrepareError) as caught:
        world.preprocess(prepare_sql=sql)

    for word in words:
        assert word in str(caught.value)
    assert "SQLSTATE" not in str(caught.value)
    assert "JVM" not in str(caught.value)
    assert world.store.versions("preprocess", "2024-03-09") == []


def test_forbidden_columns_must_not_be_part_of_a_request(world: ToyNight) -> None:
    features = {**SPEC["features"], "forbidden": ["y", "arrived"]}
    with pytest.raises(PrepareError, match=r"the output has arrived, which features.forbidden"):
        world.preprocess(prepare_sql=SQL.replace("s.x", "s.x, s.n AS arrived"), features=features)


def test_a_changed_time_is_refused_even_where_time_is_no_key(world: ToyNight) -> None:
    days = {
        day: rows.set_column(1, "id", pa.array(range(n * 100, n * 100 + PER_DAY)))
        for n, (day, rows) in enumerate(all_days().items())
    }
    sql = SQL.replace("s.at", "IF(s.id = 103, s.at + INTERVAL 2 DAYS, s.at) AS at")
    with pytest.raises(PrepareError, match=r"changes at of 1 rows.* of id=103: 2024-03-05 03:00:00 becomes 2024-03-07"):
        world.preprocess(days, prepare_sql=sql, key=["id"])


def test_a_time_taken_from_another_row_of_the_same_key_is_refused(world: ToyNight) -> None:
    numbers = [0, 0, 1, 2, 3, 4]
    days = {
        day: rows.set_column(1, "id", pa.array(range(number * 100, number * 100 + PER_DAY)))
        for number, (day, rows) in zip(numbers, all_days().items(), strict=True)
    }
    sql = SQL.replace("s.at", "IF(s.id = 3 AND day(s.at) = 5, s.at - INTERVAL 1 DAY, s.at) AS at")
    with pytest.raises(PrepareError, match=r"the output has id at times at which the source does not"):
        world.preprocess(days, prepare_sql=sql, key=["id"])


def test_a_key_in_both_windows_is_refused(world: ToyNight) -> None:
    with pytest.raises(PrepareError, match=r"24 keys are both in the training window and in the holdout.* id=0:"):
        world.preprocess(key=["id"])


def test_a_window_without_labels_says_which_and_how_much_there_was(world: ToyNight) -> None:
    days = {day: day_rows(day, unlabelled=1.0 if day in HOLDOUT_DAYS else 0.0) for day in all_days()}
    with pytest.raises(DataError) as caught:
        world.preprocess(days)

    assert "the holdout window [2024-03-07T00:00Z, 2024-03-09T00:00Z) (2 days) has no labelled row" in str(caught.value)
    assert "48 unlabelled" in str(caught.value)
    assert "120 rows" in str(caught.value)


def test_a_filter_that_leaves_nothing_is_named(world: ToyNight) -> None:
    with pytest.raises(DataError, match=r"the train window .* has no labelled row.*left out 120.*\n.*toy.sql"):
        world.preprocess(prepare_sql=f"{SQL} WHERE s.x > 1e9")


def test_a_window_with_one_class_is_refused(world: ToyNight) -> None:
    with pytest.raises(DataError, match=r"the train window .* has only negatives"):
        world.preprocess(label={**SPEC["label"], "positive": ">= 1000"})


def test_no_day_at_all_is_refused(world: ToyNight) -> None:
    with pytest.raises(DataError, match=r"no day of the windows"):
        world.preprocess({date(2024, 3, 9): day_rows(date(2024, 3, 9))})


def test_columns_of_one_name_and_two_kinds_name_the_days(world: ToyNight) -> None:
    days = all_days()
    text = days[HOLDOUT_DAYS[1]].set_column(4, "n", pa.array(["many"] * PER_DAY))
    with pytest.raises(DataError, match=r"column n is int64 in valid/2024-03-0.@1 and string in valid/2024-03-08@1"):
        world.preprocess({**days, HOLDOUT_DAYS[1]: text})


def test_a_changed_input_file_is_not_read(world: ToyNight) -> None:
    given = world.validated(all_days(), {"places": PLACES})
    (path,) = (world.root / "store/dev/toy/valid/2024-03-05").rglob("*.parquet")
    table = pq.read_table(path)
    pq.write_table(table.set_column(4, "n", pa.array([7] * PER_DAY)), path)

    with pytest.raises(IntegrityError):
        world.again(given)

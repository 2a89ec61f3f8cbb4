"""The data blessing on real flights: clean nights pass, each fault is refused by the check that is there for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.flight_nights import flights_plan, windows

from nightshift.errors import DataNotBlessed
from nightshift.ledger import blessings
from nightshift.ledger.blessings import Check, WaivedBy
from nightshift.plan import Plan
from nightshift.preprocess.axis import TIME
from nightshift.preprocess.blessing import bless, condense, judge
from nightshift.preprocess.history import STATS, History, NightStats, earlier_nights
from nightshift.preprocess.prepared import LABEL
from nightshift.storage import Manifest, Store

pytestmark = pytest.mark.thorough

NIGHT = date(2013, 7, 15)
FEATURES = {"numeric": ["dep_delay", "temp"], "categorical": ["carrier"], "known_strong": ["dep_delay"]}
Windows = tuple[pa.Table, pa.Table]
Change = Callable[[pa.Table], pa.Table]


def a_plan(**changes: Any) -> Plan:
    return flights_plan(NIGHT, **{"features": FEATURES, "gates": {"minimum": 0.8}, **changes})


@cache
def clean() -> Windows:
    return windows(a_plan())


def with_column(table: pa.Table, name: str, values: object) -> pa.Table:
    column = values if isinstance(values, (pa.Array, pa.ChunkedArray)) else pa.array(values)
    return table.set_column(table.column_names.index(name), name, column)


def labels(table: pa.Table) -> np.ndarray:
    return table.column(LABEL).to_numpy().astype(float)


def chance(table: pa.Table) -> np.random.Generator:
    return np.random.default_rng(table.num_rows)


def failing(plan: Plan, given: Windows, history: History | None = None) -> dict[str, str]:
    return {check.name: check.text for check in judge(plan, *given, history or History()).checks if not check.passed}


def test_a_clean_night_passes_every_check() -> None:
    checks = judge(a_plan(), *clean(), History()).checks
    assert [check.text for check in checks if not check.passed] == []
    kinds = {check.name.partition(".")[0] for check in checks}
    assert kinds == {
        "leakage",
        "association",
        "label_shift",
        "unit_shift",
        "sentinel",
        "nulls",
        "dominance",
        "explosion",
        "unseen",
    }


# -- leaks ----------------------------------------------------------------------------------------------


def copied(table: pa.Table) -> pa.Table:
    return with_column(table, "temp", labels(table))


def noisy(table: pa.Table) -> pa.Table:
    return with_column(table, "temp", labels(table) + chance(table).normal(0, 0.6, table.num_rows))


def folded(table: pa.Table) -> pa.Table:
    """Positives lie at both ends, so that ranks see nothing."""
    side = chance(table).choice([-1.0, 1.0], table.num_rows)
    return with_column(table, "temp", side * (1 + labels(table)) + chance(table).normal(0, 0.2, table.num_rows))


def in_nulls(table: pa.Table) -> pa.Table:
    return with_column(table, "temp", pa.array(np.where(labels(table) == 1, np.nan, 60.0), from_pandas=True))


def in_a_category(table: pa.Table) -> pa.Table:
    return with_column(
        table,
        "carrier",
        [f"{name}{int(label)}" for name, label in zip(table.column("carrier").to_pylist(), labels(table), strict=True)],
    )


@pytest.mark.parametrize(
    ("leak", "column"),
    [(copied, "temp"), (noisy, "temp"), (folded, "temp"), (in_nulls, "temp"), (in_a_category, "carrier")],
)
def test_a_leaked_label_is_refused_by_the_column_that_holds_it(leak: Change, column: str) -> None:
    train, holdout = clean()
    found = failing(a_plan(), (leak(train), leak(holdout)))
    assert f"leakage.{column}" in found
    assert found[f"leakage.{column}"].startswith(f"{column}: alone it has an AUC of ")
    assert found[f"leakage.{column}"].endswith(
        f"(0.8 may be): does it hold what is known only after the prediction? Leave it out, or, if you know why it is "
        f"that strong, write features.known_strong: [{column}]"
    )


def test_a_leak_that_is_only_in_the_holdout_is_refused() -> None:
    train, holdout = clean()
    assert "leakage.temp" in failing(a_plan(), (train, noisy(holdout)))


def test_a_category_of_one_row_is_no_leak() -> None:
    train, holdout = clean()
    named = [
        with_column(table, "carrier", [f"{place}" for place in range(table.num_rows)]) for table in (train, holdout)
    ]
    plan = a_plan(data_checks={"relaxed": {"carrier": ["unseen", "explosion"]}})
    assert "leakage.carrier" not in failing(plan, (named[0], named[1]))


def test_a_strong_feature_passes_only_where_a_person_named_it() -> None:
    features = {**FEATURES, "known_strong": []}
    assert set(failing(a_plan(features=features), clean())) == {"leakage.dep_delay"}


def test_a_weak_leak_is_refused_once_there_is_history() -> None:
    train, holdout = clean()
    history = history_of(judge(a_plan(), train, holdout, History()).stats)

    def weak(table: pa.Table) -> pa.Table:
        return with_column(table, "temp", labels(table) + chance(table).normal(0, 1.0, table.num_rows))

    plan = a_plan(data_checks={"relaxed": {"temp": ["past", "unit_shift"]}})
    assert failing(plan, (weak(train), weak(holdout))) == {}
    assert set(failing(plan, (weak(train), weak(holdout)), history)) == {"association.history.temp"}


def history_of(stats: NightStats) -> History:
    return History({"2013-07-13": stats}, {"2013-07-13": "digest"})


# -- labels ---------------------------------------------------------------------------------------------


def flipped(table: pa.Table, share: float) -> pa.Table:
    flips = chance(table).random(table.num_rows) < share
    return with_column(table, LABEL, pa.array(np.where(flips, 1 - labels(table), labels(table)).astype(np.int8)))


def test_a_fifth_of_the_holdouts_labels_flipped_is_refused() -> None:
    train, holdout = clean()
    assert set(failing(a_plan(), (train, flipped(holdout, 0.2)))) == {"association.holdout.dep_delay"}


def test_a_fifth_of_all_labels_flipped_is_refused_against_history() -> None:
    train, holdout = clean()
    history = history_of(judge(a_plan(), train, holdout, History()).stats)
    found = failing(a_plan(), (flipped(train, 0.2), flipped(holdout, 0.2)), history)
    assert set(found) == {"association.history.dep_delay"}


def test_labels_turned_round_are_refused() -> None:
    train, holdout = clean()
    found = failing(a_plan(), (train, flipped(holdout, 1.0)))
    assert set(found) == {"label_shift.holdout.arr_delay"}
    history = history_of(judge(a_plan(), train, holdout, History()).stats)
    assert "label_shift.history.arr_delay" in failing(a_plan(), (flipped(train, 1.0), flipped(holdout, 1.0)), history)


def test_a_label_may_move_where_the_spec_says_so() -> None:
    train, holdout = clean()
    plan = a_plan(data_checks={"relaxed": {"arr_delay": ["label_shift"]}})
    assert failing(plan, (train, flipped(holdout, 1.0))) == {}


# -- units, sentinels, categories -----------------------------------------------------------------------


def on_one_day(table: pa.Table, name: str, change: Callable[[np.ndarray], np.ndarray]) -> pa.Table:
    times = table.column(TIME).cast(pa.int64()).to_numpy() // 86_400_000_000
    values = table.column(name).cast(pa.float64()).to_numpy()
    return with_column(table, name, pa.array(np.where(times == times[-1], change(values), values), from_pandas=True))


@pytest.mark.parametrize(
    ("name", "change", "check"),
    [
        ("dep_delay", lambda values: values * 60, "unit_shift.dep_delay"),
        ("dep_delay", lambda values: values * 100, "unit_shift.dep_delay"),
        ("temp", lambda values: (values - 32) / 1.8, "unit_shift.temp"),
        ("temp", lambda values: np.where(np.arange(len(values)) % 10 == 0, 999.0, values), "sentinel.temp"),
        ("temp", lambda values: np.where(np.arange(len(values)) % 10 == 0, -1.0, values), "sentinel.temp"),
        ("temp", lambda values: np.where(np.arange(len(values)) % 10, np.nan, values), "nulls.temp"),
    ],
    ids=["minutes to seconds", "times 100", "fahrenheit to celsius", "999", "-1", "lost by a join"],
)
def test_a_fault_of_one_day_of_the_holdout_is_refused(
    name: str, change: Callable[[np.ndarray], np.ndarray], check: str
) -> None:
    train, holdout = clean()
    found = failing(a_plan(), (train, on_one_day(holdout, name, change)))
    assert check in found
    assert "2013-07-13" in found[check]


def test_a_unit_that_changed_on_all_days_at_once_is_refused_against_history() -> None:
    train, holdout = clean()
    history = history_of(judge(a_plan(), train, holdout, History()).stats)

    def celsius(table: pa.Table) -> pa.Table:
        return with_column(table, "temp", pc.divide(pc.subtract(table.column("temp"), 32.0), 1.8))

    changed = celsius(train), celsius(holdout)
    assert failing(a_plan(), changed) == {}
    assert set(failing(a_plan(), changed, history)) == {"past.temp"}
    assert failing(a_plan(data_checks={"relaxed": {"temp": ["past"]}}), changed, history) == {}
    assert failing(a_plan(), clean(), history) == {}


def test_categories_that_are_written_in_another_way_are_refused() -> None:
    train, holdout = clean()
    lower = with_column(holdout, "carrier", pc.utf8_lower(holdout.column("carrier")))
    assert "unseen.carrier" in failing(a_plan(), (train, lower))


def test_exploding_categories_and_a_dominating_source_are_refused() -> None:
    train, holdout = clean()
    many = with_column(
        holdout, "carrier", [f"{name}{place}" for place, name in enumerate(holdout.column("carrier").to_pylist())]
    )
    assert {"explosion.carrier", "unseen.carrier"} <= set(failing(a_plan(), (train, many)))
    one = with_column(holdout, "carrier", ["UA"] * holdout.num_rows)
    assert set(failing(a_plan(), (train, one))) == {"dominance.carrier"}


# -- laws -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2])
def test_the_order_of_the_rows_does_not_matter(seed: int) -> None:
    order = np.random.default_rng(seed)
    shuffled = [table.take(pa.array(order.permutation(table.num_rows))) for table in clean()]
    one, other = judge(a_plan(), *clean(), History()), judge(a_plan(), shuffled[0], shuffled[1], History())
    assert sorted(one.checks, key=str) == sorted(other.checks, key=str)
    assert one.stats.to_json() == other.stats.to_json()


CHECKS = st.lists(
    st.builds(
        lambda kind, column, value: Check(f"{kind}.{column}", value <= 1, value, 1.0, f"{column} {value}"),
        st.sampled_from(["nulls", "leakage"]),
        st.sampled_from("abc"),
        st.floats(0, 2),
    )
)


@given(CHECKS)
def test_every_failed_check_is_kept_and_one_passed_of_each_kind(checks: list[Check]) -> None:
    kept = condense(checks)
    assert [check for check in kept if not check.passed] == [check for check in checks if not check.passed]
    passed = {check.name: check.value for check in kept if check.passed}
    values: dict[str, float] = {}
    for check in checks:
        if check.passed:
            kind = check.name.partition(".")[0]
            values[kind] = max(values.get(kind, 0.0), float(check.value or 0.0))
    assert passed == values


# -- the stored verdict ---------------------------------------------------------------------------------


def store_in(tmp_path: Path) -> Store:
    return Store.open(tmp_path.as_uri(), env="dev", model="flight_delays")


def validated() -> Manifest:
    result = {"days": 76, "rows_in": 70_000, "quarantined": 3}
    return Manifest("validate", "2013-07-14", 1, "a", "k", "d", (), {}, {}, "c", result, "", 1.0)


def blessed(
    store: Store, given: Windows, *, plan: Plan | None = None, waiver: WaivedBy | None = None
) -> blessings.Blessing:
    plan = plan or a_plan()
    attempt = store.attempt("preprocess", plan.interval.key)
    for name, table in zip(("train", "holdout"), given, strict=True):
        attempt.put_table(name, table)
    blessing = bless(plan, attempt, validated(), earlier_nights(store, plan, "preprocess"), waiver)
    attempt.publish(stage_key="k", code="c")
    return blessing


def test_a_clean_night_is_blessed_and_leaves_its_numbers(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    blessing = blessed(store, clean())
    assert blessing.verdict == "passed"
    assert [check.name for check in blessing.checks] == [
        "validation", "overlap", "association", "dominance", "explosion", "label_shift", "leakage", "nulls", "sentinel", "unit_shift", "unseen",
    ]  # fmt: skip
    published = store.latest("preprocess", "2013-07-14")
    assert published is not None
    assert blessings.read(store, published) == blessing
    stats = json.loads(store.read(published, "stats.json"))
    assert stats["labels"]["train"][0] == clean()[0].num_rows
    assert len(stats["magnitudes"]["temp"]) == 74


def test_what_the_spec_lets_off_stands_in_the_blessing(tmp_path: Path) -> None:
    blessing = blessed(store_in(tmp_path), clean(), plan=a_plan(data_checks={"relaxed": {"temp": ["past", "nulls"]}}))
    assert blessing.checks[-1].text == "the spec lets columns off checks: temp off past, nulls"


def test_a_failed_night_names_every_check_and_publishes_nothing(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    train, holdout = clean()
    with pytest.raises(DataNotBlessed) as caught:
        blessed(store, (copied(train), flipped(copied(holdout), 0.2)))
    first, *lines = caught.value.message.splitlines()
    assert first == f"night 2013-07-15: the data is not blessed, {len(lines)} checks fail, and nothing was published:"
    assert {line.split(":")[0].strip() for line in lines} >= {"leakage.temp", "association.holdout.dep_delay"}
    assert "nightshift waive flight_delays" in str(caught.value.hint)
    assert caught.value.exit_code == 65
    assert not caught.value.retryable
    assert store.latest("preprocess", "2013-07-14") is None


def test_a_failed_verdict_is_kept_as_evidence_each_time_and_waived_ones_are_not(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    train, holdout = clean()
    given = (copied(train), flipped(copied(holdout), 0.2))
    for times in (1, 2):
        with pytest.raises(DataNotBlessed) as caught:
            blessed(store, given)
        kept = store.latest(blessings.UNBLESSED, "2013-07-14")
        assert kept is not None
        assert kept.version == times
    verdict = blessings.read(store, kept)
    assert (verdict.kind, verdict.verdict, verdict.waived_by) == ("data", "failed", None)
    assert [check.name for check in verdict.failed] == kept.result["checks_failed"]
    assert all(check.text in caught.value.message for check in verdict.failed[:12])
    assert verdict.evidence == f"{blessings.UNBLESSED}/2013-07-14/{STATS}"
    assert store.read(kept, STATS)
    assert earlier_nights(store, a_plan(), "preprocess").nights == {}
    waiver = WaivedBy(entry=1, by="ada", reason="a strike", expires="2999-01-01")
    blessed(store, given, waiver=waiver)
    assert store.versions(blessings.UNBLESSED, "2013-07-14") == [1, 2]


def test_a_waiver_of_another_check_lets_nothing_through_and_says_why(tmp_path: Path) -> None:
    train, holdout = clean()
    waiver = WaivedBy(3, "ana", "the airline confirmed it", "2013-08-01", ("overlap",))
    with pytest.raises(DataNotBlessed) as caught:
        blessed(store_in(tmp_path), (copied(train), copied(holdout)), waiver=waiver)
    assert caught.value.message.splitlines()[-1].startswith(
        "ana's waiver (ledger entry 3) is for overlap and not for leakage.temp"
    )
    assert "nightshift waive flight_delays --night 2013-07-15 --blessing data --reason" in (caught.value.hint or "")


def test_one_row_in_both_windows_is_refused(tmp_path: Path) -> None:
    train, holdout = clean()
    copy = holdout.slice(5, 1)
    with pytest.raises(DataNotBlessed) as caught:
        blessed(store_in(tmp_path), (pa.concat_tables([train, copy]), holdout))
    row = copy.select(["carrier", "flight"]).to_pylist()[0]
    assert (
        f"  overlap: 1 of {train.num_rows + 1:,} training rows have a key that the holdout has too (none may), such as "
        in caught.value.message
    )
    assert f"carrier={row['carrier']}, flight={row['flight']}" in caught.value.message


def test_a_waiver_lets_a_failed_night_pass_and_stands_in_it(tmp_path: Path) -> None:
    train, holdout = clean()
    waiver = WaivedBy(3, "ana@example.com", "the airline confirmed it", "2013-08-01")
    blessing = blessed(store_in(tmp_path), (copied(train), copied(holdout)), waiver=waiver)
    assert blessing.verdict == "waived"
    assert blessing.waived_by == waiver
    assert "leakage.temp" in [check.name for check in blessing.failed]

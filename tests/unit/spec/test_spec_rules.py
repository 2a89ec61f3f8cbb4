"""What keys demand of each other, beyond the mistakes that have a golden text."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from pydantic import ValidationError

from nightshift.errors import SpecError
from nightshift.plan import stages_of
from nightshift.spec.models import Features, FilesSource, FilesTable, Label, ModelSpec, PackageTable

Load = Callable[..., ModelSpec]


def refused(load: Load, old: str, new: str) -> str:
    with pytest.raises(SpecError) as raised:
        load((old, new))
    return str(raised.value)


SOURCE = "source: {kind: files, uri: data/orders/%F.csv, time: ordered_at}"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            "{kind: files, uri: s3://bucket/%F.csv, time: t, since: 2014-01-01, until: 2014-01-01}",
            "source.until: 2014-01-01 is not after since",
        ),
        ("{kind: files, uri: https://host/x.csv, time: t}", "source.uri: 'https://host/x.csv' has the scheme https"),
        ("{kind: files, uri: s3a://bucket/x.csv, time: t}", "did you mean s3"),
        ("{kind: files, uri: data/../../etc/x.csv, time: t}", "source.uri: 'data/../../etc/x.csv' has .. in it"),
        ("{kind: files, uri: $HOME/x.csv, time: t}", "has a $ or ~ in it"),
        ("{kind: files, uri: ~/x.csv, time: t}", "has a $ or ~ in it"),
        ("{kind: files, uri: data/, time: t}", "is a folder"),
        ("{kind: files, uri: data/x.txt, time: t}", "does not say whether it is csv or parquet"),
        ("{kind: files, uri: 'data/%H.csv', time: t}", "%H is not a code of the day"),
        ("{kind: files, uri: 's3://[x', time: t}", "does not say whether"),
        ("{kind: files, uri: x.csv, time: t, delimiter: ';;'}", "source.delimiter: ';;' is not allowed"),
        ("{kind: package, package: os/path, file: x.csv, time: t}", "source.package: 'os/path' is not allowed"),
        ("{kind: package, package: os, file: ../x.csv, time: t}", "source.file: '../x.csv' leaves the package"),
        ("{kind: package, package: os, file: /etc/x.csv, time: t}", "leaves the package"),
        ("{kind: package, package: os, file: 'a\\..\\x.csv', time: t}", "leaves the package"),
        ("{kind: files, uri: x.csv}", "source.time: this key is missing"),
        ("{uri: x.csv, time: t}", "source.kind: this key is missing"),
        ("[a]", "source: a list is not allowed"),
        ("{kind: [files], uri: x.csv, time: t}", "source.kind"),
    ],
)
def test_sources(load: Load, source: str, said: str) -> None:
    assert said in refused(load, SOURCE, f"source: {source}")


def test_a_password_in_a_uri_is_refused_and_not_repeated(load: Load) -> None:
    text = refused(load, SOURCE, "source: {kind: files, uri: 's3://me:geheim@bucket/x.csv', time: t}")
    assert "source.uri: the URI has a password in it" in text
    assert "geheim" not in text


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("source: {kind: files, uri: x.csv}", "tables.source: the name source is taken"),
        ("Shops: {kind: files, uri: x.csv}", "tables.Shops: 'Shops' cannot be a name here"),
        ("shops: {kind: files, uri: '%F.csv'}", "tables.shops.uri: '%F.csv' depends on the day (%F)"),
        ("shops: {kind: files, uri: x.csv, time: t}", "tables.shops.time: unknown key"),
    ],
)
def test_tables(load: Load, table: str, said: str) -> None:
    assert said in refused(load, "  shops: {kind: files, uri: data/shops.csv}", f"  {table}")


@pytest.mark.parametrize(
    ("check", "said"),
    [
        ("{column: price}", "this one has no check"),
        ("{column: price, between: [0, 1], in_set: [1]}", "this one has 2 checks (between, in_set)"),
        ("{between: [0, 1]}", "between needs to know its column"),
        ("{column: price, between: [null, null]}", "both sides are open"),
        ("{column: price, between: [0]}", "the list has 1 item"),
        ("{column: price, between: [0, 1, 2]}", "the list has 3 items"),
        ("{column: price, between: [0, high]}", "expectations[0].between[1]: 'high' is not allowed"),
        ("{column: price, in_set: []}", "the set is empty"),
        ("{column: price, in_set: [[a]]}", "expectations[0].in_set[0]: a list is not allowed"),
        ("{column: price, not_null: false}", "not_null: false is not allowed"),
        ("{column: price, not_null: true, kwargs: {x: 1}}", "kwargs are arguments of expect"),
        ("{column: price, not_null: true, mostly: 1.5}", "mostly: 1.5 is not allowed"),
        ("{column: price, expect: to_be_unique}", "expect: 'to_be_unique' is not allowed"),
        ("{column: country, matches: '(de'}", "matches: '(de' is not a regular expression"),
        ("price > 0", "expectations[0]: 'price > 0' is not allowed"),
    ],
)
def test_expectations(load: Load, check: str, said: str) -> None:
    assert said in refused(load, "{column: price, between: [0, 10000]}", check)


@pytest.mark.parametrize(
    "check",
    ["{expect: expect_table_row_count_to_be_between, kwargs: {min_value: 1}}", "{column: price, between: [0, null]}"],
)
def test_good_expectations(load: Load, check: str) -> None:
    assert load(("{column: price, between: [0, 10000]}", check))


@pytest.mark.parametrize(
    ("positive", "said"),
    [
        ('">= soon"', "label.positive: >= compares numbers, and 'soon' is none"),
        ('"late >= 15"', "label.positive: 'late >= 15' is not allowed"),
        ('"="', "is not allowed"),
        ('"=> 15"', "is not allowed"),
        ("15", "label.positive: 15 is not allowed"),
    ],
)
def test_positive_class(load: Load, positive: str, said: str) -> None:
    assert said in refused(load, 'positive: "== yes"', f"positive: {positive}")


@pytest.mark.parametrize("positive", ["== yes", '== "1"', "!= 0", "> -1.5e3", "<= .5", "==1"])
def test_good_positive_classes(positive: str) -> None:
    assert Label(column="late", positive=positive)


@pytest.mark.parametrize(
    ("features", "said"),
    [
        ("  numeric: []\n  categorical: []", "features: there is no feature"),
        ("  numeric: [price, price]", "features.numeric[1]: price is listed twice, first as features.numeric[0]"),
        ("  numeric: [price]\n  categorical: [price]", "features.categorical[0]: price is listed twice"),
        ("  numeric: [label]", "label is the name of an output of every binary model"),
        ("  numeric: [2nd]", "features.numeric[0]: '2nd' is not allowed"),
        (
            "  numeric: [price]\n  transforms: {price: [{kind: impute, strategy: constant}]}",
            "strategy constant needs the constant",
        ),
        (
            "  numeric: [price]\n  transforms: {price: [{kind: impute, value: 3}]}",
            "strategy median computes the value itself",
        ),
        ("  numeric: [price]\n  transforms: {price: [{kind: clip, bounds: [2, 1]}]}", "[2, 1] is no range"),
        ("  numeric: [price]\n  transforms: {price: [{kind: clip, quantiles: [0, 99]}]}", "[0, 99] is no range"),
        (
            "  numeric: [price]\n  transforms: {price: [{kind: clip, quantiles: [0, 1], bounds: [0, 1]}]}",
            "clip has quantiles and bounds",
        ),
        ("  numeric: [price]\n  transforms: {price: [{kind: bucketize, edges: [1, 1]}]}", "the edges do not ascend"),
        ("  numeric: [price]\n  transforms: {price: [{kind: bucketize, edges: []}]}", "edges: the list is empty"),
        ("  numeric: [price]\n  known_strong: [prize]", "features.known_strong[0]: prize is no feature"),
        ("  numeric: [price]\n  known_strong: [prize]", "did you mean price?"),
        ("  numeric: [price]\n  transforms: {price: [scale]}", "transforms.price[0]: 'scale' is not allowed"),
        ("  numeric: [price]\n  transforms: {price: [{kind: scal}]}", "did you mean scale?"),
        (
            "  categorical: [country]\n  transforms: {country: [{kind: index}, {kind: one_hot}]}",
            "has the transforms [index, one_hot]",
        ),
        ("  categorical: [country]\n  transforms: {country: []}", "has the transforms []"),
    ],
)
def test_features(load: Load, features: str, said: str) -> None:
    old = "  numeric: [price, distance]\n  categorical: [country]\n  forbidden: [delivered_at]"
    assert said in refused(load, old, features)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("key: [order_id]", "key: [late]", "key[0]: late is the label"),
        ("key: [order_id]", "key: [delivered_at]", "key[0]: delivered_at is forbidden"),
        ("key: [order_id]", "key: [order_id, order_id]", "key[1]: order_id is listed twice"),
        ("key: [order_id]", "key: []", "key: the list is empty"),
        (
            "minimum: 0.7",
            "minimum: 0.7\n  slices: [late]",
            "gates.slices[0]: late is not known when the model is asked",
        ),
        (
            "minimum: 0.7",
            "minimum: 0.7\n  fairness: {attribute: delivered_at}",
            "gates.fairness.attribute: delivered_at is not known when the model is asked",
        ),
        (
            "minimum: 0.7",
            "minimum: 0.7\n  versus_champion: {rule: equal}",
            "gates.versus_champion.rule: 'equal' is not allowed",
        ),
        (
            "minimum: 0.7",
            "minimum: 0.7\n  versus_champion: {confidence: 1}",
            "gates.versus_champion.confidence: 1 is not allowed",
        ),
        (
            "minimum: 0.7",
            "minimum: 0.7\n  versus_champion: {least: {days: 1}}",
            "gates.versus_champion.least.days: 1 is not allowed",
        ),
        ("minimum: 0.7", "minimum: 0.7\n  max_age: a month", "gates.max_age: 'a month' is not a duration"),
        ("minimum: 0.7", "minimum: 1.7", "gates.minimum: 1.7 is not allowed"),
        ("train: 30d", "train: 36h", "window.train: 36h is not one or more whole days"),
        ("train: 30d", "train: 0d", "window.train: 0h is not one or more whole days"),
        ("train: 30d", "train: 99999999d", "is not a duration"),
        ("model: orders", "model: Orders", "model: 'Orders' is not allowed"),
        ("version: 1", "version: 2", "version: 2 is not allowed"),
        ("owner: orders@example.com", 'owner: ""', "owner: '' is not allowed"),
        ("owner: orders@example.com", "owner: 5", 'put it in quotes: "5"'),
        ("  engine: xgboost", "  engine: xgboost\n  seed: true", "training.seed: true is not allowed"),
        ("  engine: xgboost", "  engine: xgboost\n  seed: 1.5", "training.seed: 1.5 is not allowed"),
        ("  engine: xgboost", "  engine: xgboost\n  threshold: best", "training.threshold: 'best' is not allowed"),
        (
            "params: {n_estimators: 50}",
            "params: {n_estimators: [50]}",
            "training.params.n_estimators: a list is not allowed",
        ),
        ("gates:", "volume: {versus_trailing: [2, 3]}\ngates:", "volume.versus_trailing: [2, 3] refuses a day"),
        ("gates:", "data_checks: {leakage: 0.5}\ngates:", "data_checks.leakage: 0.5 is not allowed"),
        ("gates:", "data_checks: {leakige: 0.9}\ngates:", "did you mean leakage"),
        (
            "gates:",
            "data_checks: {relaxed: {price: [leakage]}}\ngates:",
            "data_checks.relaxed.price[0]: 'leakage' is not",
        ),
        ("gates:", "data_checks: {relaxed: {price: [unit_shit]}}\ngates:", "did you mean unit_shift"),
        ("gates:", "data_checks: {relaxed: {price: nulls}}\ngates:", "data_checks.relaxed.price: "),
        (
            "gates:",
            "data_checks: {relaxed: {price: [nulls, nulls]}}\ngates:",
            "data_checks.relaxed.price[1]: nulls is listed twice",
        ),
        (
            "gates:",
            "data_checks: {relaxed: {price: [label_shift]}}\ngates:",
            "data_checks.relaxed.price[0]: label_shift is about the label, and price is not it",
        ),
        ("gates:", "retries: 99\ngates:", "retries: 99 is not allowed"),
        ("gates:", "notify: {connection: ''}\ngates:", "notify.connection: '' is not allowed"),
    ],
)
def test_other_sections(load: Load, old: str, new: str, said: str) -> None:
    assert said in refused(load, old, new)


def test_a_rule_is_reported_also_when_another_section_is_broken(load: Load) -> None:
    with pytest.raises(SpecError) as raised:
        load(("numeric: [price, distance]", "numeric: [price, late]"), ("minimum: 0.7", "minimum: high"))
    assert "features.numeric[1]: late is the label" in str(raised.value)
    assert "gates.minimum: 'high'" in str(raised.value)


def test_models_built_by_code_say_the_same_on_one_line() -> None:
    with pytest.raises(ValidationError, match=r"transforms\.b: b is no feature.*Allowed: a\. Hint: list it"):
        Features(numeric=("a",), transforms={"b": ({"kind": "scale"},)})
    with pytest.raises(ValidationError, match=r"'\{x\}' does not say"):
        FilesTable(kind="files", uri="{x}")


def test_good_places() -> None:
    assert FilesSource(kind="files", uri="s3://bucket/%Y/%m/%d/*.csv.gz", time="t")
    assert FilesTable(kind="files", uri="/data/100%%/x.parquet")
    assert FilesTable(kind="files", uri="data/*", format="csv")
    assert PackageTable(kind="package", package="a.b", file="data/x..y.csv")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("approval: maybe", "approval: 'maybe' is not allowed"),
        ("approval_timeout: 1d", "approval_timeout: nothing waits for an answer with approval: auto"),
        ("approval: manual\napproval_timeout: 0h", "approval_timeout: nobody can answer at once"),
        ("approval: manual\napproval_timeout: soon", "approval_timeout: 'soon' is not a duration"),
    ],
)
def test_approval(load: Load, keys: str, said: str) -> None:
    assert said in refused(load, SOURCE, f"{SOURCE}\n{keys}")


def test_good_approval(load: Load) -> None:
    spec = load((SOURCE, f"{SOURCE}\napproval: manual\napproval_timeout: 12h"))
    assert (spec.approval, spec.approval_timeout) == ("manual", timedelta(hours=12))
    assert load((SOURCE, SOURCE)).approval == "auto"
    assert stages_of(load((SOURCE, SOURCE)))[-1] == "deploy"
    assert stages_of(spec)[-1] == "register"

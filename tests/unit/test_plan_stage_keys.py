"""Stage keys: same key, same result. A key changes when, and only when, something that the stage reads changes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nightshift
from nightshift import plan as plan_module
from nightshift.plan import (
    CODE_OF_STAGE,
    LIBRARIES_OF_STAGE,
    SPEC_OF_SEARCH,
    SPEC_OF_STAGE,
    STAGES,
    Interval,
    Plan,
    code_digest,
    digest_of,
    library_versions,
    package_version,
)
from nightshift.spec.loader import load_spec
from nightshift.spec.models import ModelSpec

PACKAGE = Path(nightshift.__file__).parent
SPEC = load_spec(PACKAGE.parents[1] / "dags" / "models" / "flight_delays.yaml", check_sql=False)
PLAN = Plan(
    spec=SPEC,
    interval=Interval.of_day(date(2013, 7, 14)),
    storage="file:///store",
    env="dev",
    mlflow_uri="sqlite:///mlflow.db",
    run_id="manual__1",
    trigger="manual",
    threads=2,
    code_version="c" * 64,
)
RAW: dict[str, Any] = SPEC.model_dump(mode="json")

# For every key of a spec, another value that a spec may have.
OTHER: dict[str, Any] = {
    "model": "other_model",
    "description": "another text",
    "owner": "somebody@example.com",
    "tags": ["other"],
    "schedule": "0 3 * * *",
    "source": {**RAW["source"], "since": "2013-02-01"},
    "key": ["time_hour", "flight"],
    "tables": {"weather": RAW["tables"]["weather"]},
    "prepare": "other.sql",
    "prepare_sql": RAW["prepare_sql"] + "\nWHERE s.distance > 0",
    "expectations": [],
    "quarantine": {"max_fraction": 0.5},
    "volume": {**RAW["volume"], "minimum": 7},
    "data_checks": {**RAW["data_checks"], "leakage": 0.9},
    "label": {**RAW["label"], "positive": ">= 30"},
    "features": {**RAW["features"], "numeric": ["dep_delay"]},
    "window": {**RAW["window"], "train": "30d"},
    "training": {**RAW["training"], "seed": 7},
    "gates": {**RAW["gates"], "minimum": 0.5},
    "notify": {"connection": "other"},
    "retries": 5,
    "compute": {"target": "standalone"},
    "approval": "manual",
    "deploy": {"memory": "2GB"},
}
# There is one version so far, only a person who approves can take too long, and only a static source is split.
SINGLE_VALUED = {"version", "approval_timeout", "split"}


def changed(**sections: Any) -> Plan:
    return replace(PLAN, spec=ModelSpec.model_validate({**RAW, **sections}))


def test_every_key_of_a_spec_is_tried() -> None:
    assert set(OTHER) | SINGLE_VALUED == set(ModelSpec.model_fields)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("section", OTHER)
def test_the_key_changes_with_the_sections_that_the_stage_reads(stage: str, section: str) -> None:
    other = changed(**{section: OTHER[section]})
    differs = other.stage_key(stage, {}) != PLAN.stage_key(stage, {})
    assert differs == (section in SPEC_OF_STAGE[stage] or section == "model")


@given(st.sets(st.sampled_from(sorted(OTHER))), st.sampled_from(STAGES))
def test_any_set_of_changes_counts_by_its_sections(sections: set[str], stage: str) -> None:
    other = changed(**{section: OTHER[section] for section in sections})
    differs = other.stage_key(stage, {}) != PLAN.stage_key(stage, {})
    assert differs == bool(sections & {*SPEC_OF_STAGE[stage], "model"})


INPUTS = st.dictionaries(
    st.text("abc/", min_size=1, max_size=4), st.text("0123456789abcdef", min_size=4, max_size=8), max_size=3
)


@given(st.sampled_from(STAGES), INPUTS, INPUTS)
def test_the_key_changes_with_the_inputs(stage: str, one: dict[str, str], other: dict[str, str]) -> None:
    assert (PLAN.stage_key(stage, one) == PLAN.stage_key(stage, other)) == (one == other)
    assert PLAN.stage_key(stage, dict(reversed(one.items()))) == PLAN.stage_key(stage, one)


@given(st.sampled_from(STAGES), st.dates(date(2000, 1, 1), date(2030, 1, 1)))
def test_the_key_changes_with_the_interval(stage: str, day: date) -> None:
    other = replace(PLAN, interval=Interval.of_day(day))
    assert (other.stage_key(stage, {}) == PLAN.stage_key(stage, {})) == (other.interval == PLAN.interval)


def test_every_stage_has_a_key_of_its_own() -> None:
    assert len({PLAN.stage_key(stage, {}) for stage in STAGES}) == len(STAGES)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    "other",
    [
        {"run_id": "scheduled__2"},
        {"trigger": "backfill"},
        {"storage": "s3://bucket"},
        {"mlflow_uri": "http://mlflow"},
        {"env": "prod"},
        {"code_version": "d" * 64},
    ],
    ids=str,
)
def test_the_key_does_not_depend_on_who_runs_it_and_where(stage: str, other: dict[str, Any]) -> None:
    assert replace(PLAN, **other).stage_key(stage, {}) == PLAN.stage_key(stage, {})


@pytest.mark.parametrize("stage", STAGES)
def test_threads_count_where_they_change_the_model(stage: str) -> None:
    differs = replace(PLAN, threads=4).stage_key(stage, {}) != PLAN.stage_key(stage, {})
    assert differs == (stage == "train")


@pytest.mark.parametrize("stage", STAGES)
def test_the_key_changes_with_the_code(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = PLAN.stage_key(stage, {})
    monkeypatch.setattr(plan_module, "code_digest", lambda parts: f"edited {parts}")
    assert PLAN.stage_key(stage, {}) != before


def test_keys_do_not_depend_on_the_order_of_a_mapping() -> None:
    raw = dict(reversed(RAW.items()))
    raw["training"] = {**raw["training"], "params": dict(reversed(raw["training"]["params"].items()))}
    other = replace(PLAN, spec=ModelSpec.model_validate(raw))
    assert [other.stage_key(stage, {}) for stage in STAGES] == [PLAN.stage_key(stage, {}) for stage in STAGES]


# -- the two tables ------------------------------------------------------------------------------------


def test_the_tables_have_every_stage() -> None:
    assert set(CODE_OF_STAGE) == set(SPEC_OF_STAGE) == set(STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_the_tables_name_what_exists(stage: str) -> None:
    assert set(SPEC_OF_STAGE[stage]) <= set(ModelSpec.model_fields)
    assert len(set(SPEC_OF_STAGE[stage])) == len(SPEC_OF_STAGE[stage])
    assert [part for part in CODE_OF_STAGE[stage] if not (PACKAGE / part).exists()] == []
    assert stage in CODE_OF_STAGE[stage]


# What a stage may look at without its result depending on it.
NO_RESULT = {
    "prepare": "the file's name, for messages; prepare_sql has the text",
    "model": "in every key",
    "model_copy": "a method",
    "model_dump": "a method",
}
# Windows are made of these.
WINDOW_SECTIONS = {"window", "label"}


def sections_read(stage: str) -> Iterator[tuple[str, str]]:
    """Top-level keys of the spec that the code of a stage looks at, with the place."""
    for path in sorted((PACKAGE / stage).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Attribute):
                continue
            place = f"{path.relative_to(PACKAGE)}:{node.lineno}"
            holder = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", None)
            if holder == "spec":
                yield node.attr, place
            elif holder == "plan" and node.attr == "windows":
                yield from ((section, place) for section in WINDOW_SECTIONS)


@pytest.mark.parametrize("stage", STAGES)
def test_the_key_covers_every_section_that_the_code_of_a_stage_reads(stage: str) -> None:
    besides = SPEC_OF_SEARCH if stage == "train" else ()  # in the key where a search is asked for
    covered = {*SPEC_OF_STAGE[stage], *NO_RESULT, *besides}
    assert [(section, place) for section, place in sections_read(stage) if section not in covered] == []


# -- digests -------------------------------------------------------------------------------------------


def test_code_digests_follow_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "files", lambda package: tmp_path)
    (tmp_path / "stage").mkdir()
    (tmp_path / "one.py").write_text("1")
    (tmp_path / "stage" / "two.py").write_text("2")
    (tmp_path / "stage" / "notes.txt").write_text("no code")

    def digest(*parts: str) -> str:
        code_digest.cache_clear()
        return code_digest(parts)

    try:
        before = digest("one.py", "stage")
        (tmp_path / "stage" / "notes.txt").write_text("other")
        assert digest("one.py", "stage") == before
        (tmp_path / "stage" / "two.py").rename(tmp_path / "stage" / "three.py")
        renamed = digest("one.py", "stage")
        assert renamed != before
        (tmp_path / "stage" / "three.py").write_text("3")
        assert digest("one.py", "stage") not in (before, renamed)
        assert digest("one.py") != digest("stage")
    finally:
        code_digest.cache_clear()


def test_the_package_version_is_a_digest_of_all_code() -> None:
    assert package_version() == package_version()
    assert len(package_version()) == 64


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=30)
@given(st.dictionaries(st.text(max_size=4), JSON, max_size=4))
def test_digests_do_not_depend_on_order(value: dict[str, Any]) -> None:
    assert digest_of(value) == digest_of(dict(reversed(value.items())))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_json_has_no_digest(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        digest_of([value])


def test_a_new_version_of_a_library_is_another_result(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = PLAN
    before = {stage: plan.stage_key(stage, {}) for stage in STAGES}
    monkeypatch.setattr("nightshift.plan.library_versions", lambda names: dict.fromkeys(names, "99.0"))
    assert all(plan.stage_key(stage, {}) != before[stage] for stage in STAGES)


def test_every_stage_says_which_libraries_it_depends_on() -> None:
    for stage in STAGES:
        assert None not in library_versions(LIBRARIES_OF_STAGE[stage]).values(), stage


def test_the_spark_of_a_cluster_counts_though_it_is_no_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of EMR has Spark's modules on its path, and no metadata: another release must be another key."""
    from pyspark.version import __version__

    def missing(name: str) -> str:
        raise plan_module.PackageNotFoundError(name)

    monkeypatch.setattr(plan_module, "version", missing)
    assert library_versions.__wrapped__(("pyspark", "pyarrow")) == {"pyspark": __version__, "pyarrow": None}


STATIC = {
    **{name: section for name, section in RAW.items() if name != "window"},
    "source": {"kind": "package", "package": "p", "file": "a.csv", "static": True},
    "label": {**RAW["label"], "delay": "0d"},
    "volume": {},
    "data_checks": {},
    "split": {"holdout": 0.2},
}


def static_plan(**sections: Any) -> Plan:
    return replace(PLAN, spec=ModelSpec.model_validate({**STATIC, **sections}))


@pytest.mark.parametrize("stage", STAGES)
def test_another_split_is_another_result_where_it_counts(stage: str) -> None:
    keys = [static_plan(split={"holdout": share}).stage_key(stage, {}) for share in (0.2, 0.3)]
    assert (keys[0] != keys[1]) == (stage != "deploy")


def test_what_a_night_comes_to_does_not_depend_on_the_night() -> None:
    plan = static_plan()
    other = replace(plan, interval=Interval.of_day(date(2030, 1, 1)), run_id="another")
    assert plan.outcome_key({"raw/all": "a"}) == other.outcome_key({"raw/all": "a"})
    assert plan.outcome_key({"raw/all": "a"}) != plan.outcome_key({"raw/all": "b"})
    for section in ("training", "gates", "deploy", "owner", "features"):
        assert static_plan(**{section: OTHER[section]}).outcome_key({}) != plan.outcome_key({}), section

"""What a spec's keys demand of each other. Each rule gives every problem it finds, with its place."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from nightshift.spec import gate_rules, search_rules, static_rules, task_rules, training_rules
from nightshift.spec.problem import Problem, did_you_mean, nearest, path_text

if TYPE_CHECKING:
    from nightshift.spec.data_checks import DataChecks
    from nightshift.spec.models import (
        Expectation,
        Features,
        FilesTable,
        ModelSpec,
        PackageTable,
        Span,
        Volume,
    )
    from nightshift.spec.transform_kinds import BucketizeTransform, ClipTransform, ImputeTransform

CHECKS = ("between", "in_set", "not_null", "matches", "expect")
SCHEMES = ("file", "s3", "gs", "az", "abfs", "abfss")
SUFFIXES = (".csv", ".csv.gz", ".csv.zip", ".parquet")
ENCODERS = ("index", "one_hot")
DAY_CODES = ("%Y", "%y", "%m", "%d", "%j", "%F")


def package_file(table: PackageTable) -> Iterator[Problem]:
    parts = re.split(r"[/\\]", table.file)
    if parts[0] == "" or ".." in parts or "\\" in table.file:
        yield Problem(
            f"{table.file!r} leaves the package.", ("file",), allowed="a path inside the package, such as data/x.csv"
        )
    yield from _known_format(table.file, table.format, "file")


def files_uri(table: FilesTable, *, by_day: bool) -> Iterator[Problem]:
    """Local paths and object stores only: no web addresses, no way up, nothing filled in from the environment.

    Args:
        table: The section.
        by_day: It is a source, so its path may depend on the day.
    """
    scheme, separator, rest = table.uri.partition("://")
    if separator and re.match(r"[^/]*:[^/]*@", rest):
        yield Problem("the URI has a password in it.", ("uri",), hint="credentials come from the environment")
        return
    if separator and scheme not in SCHEMES:
        yield Problem(
            f"{table.uri!r} has the scheme {scheme}.",
            ("uri",),
            allowed=f"a path, or a URI with {', '.join(f'{name}://' for name in SCHEMES)}",
            hint=did_you_mean(scheme, SCHEMES) or "copy the data to one of these",
        )
    if ".." in re.split(r"[/\\]", table.uri):
        yield Problem(f"{table.uri!r} has .. in it.", ("uri",), hint="write the path out")
    if re.search(r"\$|^~", table.uri):
        yield Problem(
            f"{table.uri!r} has a $ or ~ in it, and nothing fills it in.",
            ("uri",),
            hint="write the path out; what differs between environments belongs to NIGHTSHIFT_* variables",
        )
    yield from _codes(table.uri, by_day)
    if table.uri.endswith("/"):
        yield Problem(f"{table.uri!r} is a folder.", ("uri",), hint=f"name its files: {table.uri}*.csv")
    else:
        yield from _known_format(table.uri, table.format, "uri")


def _codes(uri: str, by_day: bool) -> Iterator[Problem]:
    wrong = [code for code in re.findall(r"%.?", uri) if not (by_day and code in DAY_CODES) and code != "%%"]
    if wrong and by_day:
        yield Problem(f"{wrong[0]} is not a code of the day.", ("uri",), allowed=f"{', '.join(DAY_CODES)}; %% for %")
    elif wrong:
        yield Problem(
            f"{uri!r} depends on the day ({wrong[0]}), but side tables and static sources are read whole each night.",
            ("uri",),
            hint="use globs (*), or %% for a % in a name",
        )


def _known_format(name: str, given: str | None, key: str) -> Iterator[Problem]:
    if given is None and not name.lower().endswith(SUFFIXES):
        yield Problem(
            f"{name!r} does not say whether it is csv or parquet.",
            (key,),
            allowed=f"a name that ends in {', '.join(SUFFIXES)}",
            hint="or add the key format: csv (or parquet)",
        )


def span(source: Span) -> Iterator[Problem]:
    if source.since is not None and source.until is not None and source.since >= source.until:
        yield Problem(
            f"{source.until.date()} is not after since ({source.since.date()}), so the source has no day at all.",
            ("until",),
            hint="until is the first day that the source no longer has",
        )


def expectation(row: Expectation) -> Iterator[Problem]:
    checks = [name for name in CHECKS if getattr(row, name) is not None]
    if len(checks) != 1:
        has = f"has {len(checks)} checks ({', '.join(checks)})" if checks else "has no check"
        yield Problem(
            f"an expectation is exactly one check; this one {has}.",
            allowed=f"one of {', '.join(CHECKS)}",
            hint="write one row for each check" if checks else None,
        )
    elif checks != ["expect"]:
        if row.column is None:
            yield Problem(f"{checks[0]} needs to know its column.", hint="add the key column")
        if row.kwargs:
            yield Problem("kwargs are arguments of expect, and there is no expect here.", ("kwargs",))
    if row.between is not None:
        yield from _range(row.between, "between")
    if row.in_set is not None and not row.in_set:
        yield Problem("the set is empty, so no row could pass.", ("in_set",), allowed="at least one value")
    if row.matches is not None:
        yield from _regex(row.matches)


def _regex(pattern: str) -> Iterator[Problem]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python warns of patterns that a later version will read differently
            re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        yield Problem(
            f"{pattern!r} is not a regular expression: {error}.",
            ("matches",),
            hint="put a backslash before a character that is meant as itself, such as \\( or \\.",
        )


def _range(bounds: tuple[float | None, float | None], key: str) -> Iterator[Problem]:
    low, high = bounds
    if low is None and high is None:
        yield Problem("both sides are open, so every row passes.", (key,), hint="give at least one bound")
    if low is not None and high is not None and low > high:
        yield Problem(
            f"{low:g} is larger than {high:g}.",
            (key,),
            allowed="[smallest, largest]",
            hint=f"write [{high:g}, {low:g}]",
        )


def volume(limits: Volume) -> Iterator[Problem]:
    low, high = limits.versus_trailing
    if low < 0 or low > 1 or high < 1:
        yield Problem(
            f"[{low:g}, {high:g}] refuses a day that is like the days before it.",
            ("versus_trailing",),
            allowed="a ratio from 0 to 1, and one of 1 or more, such as [0.3, 3.0]",
        )


def relaxed(checks: DataChecks) -> Iterator[Problem]:
    for column, names in checks.relaxed.items():
        for number, name in enumerate(names):
            if name in names[:number]:
                yield Problem(f"{name} is listed twice.", ("relaxed", column, number))


def impute(step: ImputeTransform) -> Iterator[Problem]:
    if step.strategy == "constant" and step.value is None:
        yield Problem("strategy constant needs the constant.", hint="add the key value, such as value: 0")
    if step.strategy != "constant" and step.value is not None:
        yield Problem(
            f"strategy {step.strategy} computes the value itself.",
            ("value",),
            hint="write strategy: constant, or drop it",
        )


def clip(step: ClipTransform) -> Iterator[Problem]:
    given = [key for key in ("quantiles", "bounds") if getattr(step, key) is not None]
    if len(given) != 1:
        yield Problem(f"clip has {' and '.join(given) or 'no bounds'}.", allowed="exactly one of quantiles, bounds")
    for key in given:
        low, high = getattr(step, key)
        if low > high or (key == "quantiles" and (low < 0 or high > 1)):
            yield Problem(
                f"[{low:g}, {high:g}] is no range.",
                (key,),
                allowed="two ascending shares from 0 to 1" if key == "quantiles" else "two ascending numbers",
            )


def bucketize(step: BucketizeTransform) -> Iterator[Problem]:
    if any(left >= right for left, right in zip(step.edges, step.edges[1:], strict=False)):
        yield Problem("the edges do not ascend.", ("edges",), allowed="numbers, each larger than the one before")


def features(declared: Features) -> Iterator[Problem]:
    """Columns that are listed twice, forbidden, or given transforms that do not suit them."""
    columns = [*declared.numeric, *declared.categorical]
    if not columns:
        yield Problem("there is no feature.", hint="list at least one column under numeric or categorical")
    places = [*_places("numeric", declared.numeric), *_places("categorical", declared.categorical)]
    first: dict[str, tuple[str | int, ...]] = {}
    for at, name in places:
        if name in declared.forbidden:
            yield Problem(
                f"{name} is a feature and forbidden at once.",
                at,
                hint="forbidden columns are known only after the prediction; drop it from one of the lists",
            )
        if name in first:
            yield Problem(f"{name} is listed twice, first as {path_text(('features', *first[name]))}.", at)
        first.setdefault(name, at)
    for number, name in enumerate(declared.known_strong):
        if name not in columns:
            yield Problem(
                f"{name} is no feature, so it cannot be a strong one.",
                ("known_strong", number),
                allowed=", ".join(columns),
                hint=did_you_mean(name, columns) or "list it under numeric or categorical first",
            )
    for name in declared.transforms:
        yield from _transforms_of(declared, name, columns)


def _places(key: str, names: Iterable[str]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    for number, name in enumerate(names):
        yield (key, number), name


def _transforms_of(declared: Features, name: str, columns: list[str]) -> Iterator[Problem]:
    kinds = [step.kind for step in declared.transforms[name]]
    at = ("transforms", name)
    if name not in columns:
        yield Problem(
            f"{name} is no feature, so it cannot have transforms.",
            at,
            allowed=", ".join(columns),
            hint=did_you_mean(name, columns) or "list it under numeric or categorical first",
            is_key=True,
        )
    elif name in declared.categorical and (len(kinds) != 1 or kinds[0] not in ENCODERS):
        yield Problem(
            f"{name} is categorical and has the transforms [{', '.join(kinds)}].",
            at,
            allowed=f"exactly one of {', '.join(ENCODERS)}",
        )
    elif name in declared.numeric:
        for number, kind in enumerate(kinds):
            if kind in ENCODERS:
                yield Problem(
                    f"{name} is numeric, and {kind} is for categorical columns.",
                    (*at, number),
                    hint=f"list {name} under categorical, or use bucketize",
                )


# -- rules between sections: each says which top-level keys it reads --------------------------------------


def label_is_no_feature(spec: ModelSpec) -> Iterator[Problem]:
    listed = [*_places("numeric", spec.features.numeric), *_places("categorical", spec.features.categorical)]
    for at, name in listed:
        if name == spec.label.column:
            yield Problem(
                f"{name} is the label; a model that sees it learns nothing.",
                ("features", *at),
                hint="drop it from the features",
            )


def key_is_known(spec: ModelSpec) -> Iterator[Problem]:
    for number, name in enumerate(spec.key):
        if name == spec.label.column or name in spec.features.forbidden:
            yield Problem(
                f"{name} is {'the label' if name == spec.label.column else 'forbidden (features.forbidden)'}.",
                ("key", number),
                allowed="columns that are known when the model is asked",
            )
        if name in spec.key[:number]:
            yield Problem(f"{name} is listed twice.", ("key", number))


def tables_are_side_inputs(spec: ModelSpec) -> Iterator[Problem]:
    for name in spec.tables:
        if name == "source":
            yield Problem(
                "the name source is taken: it means the model's own rows.",
                ("tables", name),
                hint="give the table another name, here and in the prepare SQL",
                is_key=True,
            )


def label_shift_is_about_the_label(spec: ModelSpec) -> Iterator[Problem]:
    for column, names in spec.data_checks.relaxed.items():
        if "label_shift" in names and column != spec.label.column:
            yield Problem(
                f"label_shift is about the label, and {column} is not it.",
                ("data_checks", "relaxed", column, names.index("label_shift")),
                hint=f"write it under {spec.label.column}",
            )


def slices_are_not_label(spec: ModelSpec) -> Iterator[Problem]:
    used: list[tuple[tuple[str | int, ...], str]] = [*_places("slices", spec.gates.slices)]
    if spec.gates.fairness is not None:
        used.append((("fairness", "attribute"), spec.gates.fairness.attribute))
    for at, name in used:
        if name == spec.label.column or name in spec.features.forbidden:
            known = [*spec.features.categorical, *spec.features.numeric]
            yield Problem(
                f"{name} is not known when the model is asked.",
                ("gates", *at),
                allowed="columns of the prepare SQL's result, other than the label",
                hint=f"for example {nearest(name, known) or known[0]}",
            )


def timeout_has_somebody_to_wait_for(spec: ModelSpec) -> Iterator[Problem]:
    if spec.approval == "auto" and spec.approval_timeout != type(spec).model_fields["approval_timeout"].default:
        yield Problem(
            "nothing waits for an answer with approval: auto.",
            ("approval_timeout",),
            hint="write approval: manual, or drop the key",
            is_key=True,
        )
    if spec.approval_timeout < timedelta(hours=1):
        yield Problem("nobody can answer at once.", ("approval_timeout",), allowed="1h or more, such as 3d")


def emr_reads_no_local_disk(spec: ModelSpec) -> Iterator[Problem]:
    if spec.compute.target == "emr":
        yield from local_files(spec)


def local_files(spec: ModelSpec) -> Iterator[Problem]:
    """Inputs that lie on the disk of one machine."""
    inputs = [(("source", "uri"), spec.source), *((("tables", name, "uri"), one) for name, one in spec.tables.items())]
    for at, one in inputs:
        if one.kind == "files" and ("://" not in one.uri or one.uri.startswith("file:")):
            yield Problem(
                f"{one.uri} is on a disk that an EMR cluster cannot read.",
                at,
                allowed="s3://bucket/path",
                hint="copy the files to S3, or choose another compute.target",
            )


BETWEEN_SECTIONS = (
    (timeout_has_somebody_to_wait_for, {"approval", "approval_timeout"}),
    (label_is_no_feature, {"label", "features"}),
    (key_is_known, {"key", "label", "features"}),
    (tables_are_side_inputs, {"tables"}),
    (slices_are_not_label, {"gates", "label", "features"}),
    (label_shift_is_about_the_label, {"data_checks", "label"}),
    *task_rules.BETWEEN_SECTIONS,
    *gate_rules.BETWEEN_SECTIONS,
    *static_rules.BETWEEN_SECTIONS,
    *search_rules.BETWEEN_SECTIONS,
    *training_rules.BETWEEN_SECTIONS,
    (emr_reads_no_local_disk, {"compute", "source", "tables"}),
)

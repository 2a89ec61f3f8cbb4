"""From a spec file to a ModelSpec, or to one error that says everything that is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nightshift.errors import SpecError
from nightshift.spec.diagnosis import Verdict, judge, shorter, spec_error
from nightshift.spec.models import ModelSpec
from nightshift.spec.problem import Problem, did_you_mean
from nightshift.spec.yaml_source import Node, read_yaml, undecodable

MAX_BYTES = 1 << 20
SQL_NEEDS = frozenset({"source", "key", "tables", "prepare", "label", "features", "gates"})


@dataclass(frozen=True)
class Loaded:
    """The specs of a folder.

    Attributes:
        specs: Those that can be used, by file name.
        errors: One for each file that cannot; it names all of that file's problems.
    """

    specs: tuple[ModelSpec, ...]
    errors: tuple[SpecError, ...]


def load_specs(folder: Path, *, check_sql: bool = True) -> Loaded:
    """Every spec of a folder; a broken file never hides the others.

    Args:
        folder: The folder; its own ``*.yaml``, no sub-folders.
        check_sql: See ``load_spec``.
    """
    if not folder.is_dir():
        missing = SpecError(
            f"there is no folder {shorter(folder)}.", hint="set NIGHTSHIFT_MODELS to the folder of the model specs"
        )
        return Loaded((), (missing,))
    specs, errors = [], []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.suffix not in (".yaml", ".yml"):
            continue
        try:
            specs.append(load_spec(path, check_sql=check_sql))
        except SpecError as error:
            errors.append(error)
    return Loaded(tuple(specs), tuple(errors))


def load_spec(path: Path, *, check_sql: bool = True) -> ModelSpec:
    """One spec, the text of its prepare file included.

    Args:
        path: ``<model>.yaml``.
        check_sql: Look into the prepare SQL. It takes a third of a second the first time in a process, so the
            DAG files that only need a spec's shape leave it to the one that lists broken specs.

    Raises:
        SpecError: It cannot be used. The message has one paragraph for each problem: file, line, path in the
            YAML, value, what is allowed, what to do.
    """
    if path.suffix != ".yaml":
        raise SpecError(f"{shorter(path)}: a model spec ends in .yaml.", hint=f"rename it to {path.stem}.yaml")
    text = _read(path)
    root, problems = read_yaml(text)
    if root is None:
        raise spec_error(path, None, problems)
    verdict = judge(root)
    wrong_yaml = {problem.at for problem in problems}
    problems += tuple(problem for problem in verdict.problems if problem.at not in wrong_yaml)
    problems += tuple(_name_problems(path, root))
    sql, sql_path = None, None
    if "prepare" in verdict.good:
        sql_path = path.with_name(verdict.spec.prepare)
        sql, found = _prepare(sql_path, verdict, check_sql=check_sql)
        problems += found
    if problems:
        raise spec_error(path, root, problems, sql=sql_path)
    return verdict.spec.model_copy(update={"prepare_sql": sql})


def _read(path: Path) -> str:
    data = _bytes(path)
    if isinstance(data, Problem):
        raise spec_error(path, None, [data])
    return data


def _bytes(path: Path) -> str | Problem:
    """The file's text, or what is wrong with it before anybody reads it as YAML or SQL."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        return Problem(f"the file cannot be read: {error.strerror or error}.", line=1)
    if len(data) > MAX_BYTES:
        return Problem("the file is larger than 1 MiB.", line=1, allowed="1 MiB", hint="is it really a model spec?")
    return undecodable(data) or data.decode("utf-8-sig")


def _name_problems(path: Path, root: Node) -> list[Problem]:
    """The file's name is the model's name: so two files can never be the same model."""
    node = root.find(("model",))
    if node is None or not isinstance(node.scalar, str) or node.scalar == path.stem:
        return []
    model = node.scalar
    other = path.with_name(f"{model}.yaml")
    hint = f"write model: {path.stem}, or rename the file to {other.name}"
    if other.exists():
        hint = f"{other.name} is that model; if this file is a copy for a new one, write model: {path.stem}"
    return [Problem(f"{model!r} is not the name of the file.", ("model",), allowed=path.stem, hint=hint)]


def _prepare(path: Path, verdict: Verdict, *, check_sql: bool) -> tuple[str | None, tuple[Problem, ...]]:
    if not path.is_file():
        return None, (_no_prepare_file(path),)
    sql = _bytes(path)
    if isinstance(sql, Problem):
        return None, (Problem(sql.message, line=sql.line, column=sql.column, hint=sql.hint, in_sql=True),)
    if check_sql and verdict.good >= SQL_NEEDS:
        from nightshift.spec.prepare_sql import check_prepare

        return sql, check_prepare(sql, verdict.spec)
    return sql, ()


def _no_prepare_file(path: Path) -> Problem:
    beside = sorted(other.name for other in path.parent.glob("*.sql"))
    return Problem(
        f"there is no file {path.name} beside the spec.",
        ("prepare",),
        allowed="a .sql file beside the spec" + (f"; there are {', '.join(beside)}" if beside else ""),
        hint=did_you_mean(path.name, beside) or f"create {shorter(path)} with one SELECT from source",
    )

"""The columns of the prepare SQL: what must not be used, and what the result must have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nightshift.spec.problem import Problem, YamlPath, did_you_mean
from nightshift.spec.sql_tree import gives_column, near_line, output_names, read_by, selects_of, sql_problem

if TYPE_CHECKING:
    from sqlglot import exp

    from nightshift.spec.models import ModelSpec


def check_columns(query: exp.Select, spec: ModelSpec) -> Iterator[Problem]:
    """Problems with what the query uses and gives."""
    yield from _known_later(query, spec)
    yield from _stars(query, spec)
    outputs = output_names(query)
    if outputs is not None:
        yield from _names(outputs)
        yield from _needed([name for name, _ in outputs if name is not None], spec)


# -- what is known only later -----------------------------------------------------------------------------


def _known_later(query: exp.Select, spec: ModelSpec) -> Iterator[Problem]:
    """Uses of forbidden columns and of the label, other than the label as an output column under its own name."""
    from sqlglot import exp

    label = spec.label.column.lower()
    later = {name.lower() for name in spec.features.forbidden} | {label}
    for column in query.find_all(exp.Column):
        name = column.name.lower()
        if name not in later or isinstance(column.find_ancestor(exp.Star, exp.Select), exp.Star):
            continue  # the columns below a star are those that EXCEPT leaves out
        if not (name == label and _is_plain_output(column)) and not _is_of_side_table(column, spec):
            yield _used(column.name, name == label, column)
    for join in query.find_all(exp.Join):
        for using in join.args.get("using") or ():
            if using.name.lower() in later:
                yield _used(using.name, using.name.lower() == label, using)
    yield from _new_names(query, label, later)


def _new_names(query: exp.Select, label: str, later: set[str]) -> Iterator[Problem]:
    """Names that hide which column is which: a list after an alias, a forbidden name for something else."""
    from sqlglot import exp

    for names in query.find_all(exp.TableAlias):
        if names.columns and isinstance(names.parent, exp.CTE | exp.Subquery | exp.Table):
            message = "a list of names after an alias hides which column is which."
            yield sql_problem(message, near_line(names), hint="rename the columns with AS")
    for alias in query.find_all(exp.Alias):
        renamed = not isinstance(alias.this, exp.Column) or alias.this.name.lower() != alias.alias.lower()
        if renamed and alias.alias.lower() in later and isinstance(alias.parent, exp.Select):
            message = f"something else is given the name {alias.alias}, which is {_role(alias.alias.lower() == label)}."
            yield sql_problem(message, near_line(alias), hint="give it another name")


def _role(is_label: bool) -> str:
    return "the label" if is_label else "forbidden (features.forbidden)"


def _used(name: str, is_label: bool, node: exp.Expr) -> Problem:
    hint = "it is not known when the model is asked: drop it here, or from features.forbidden if it is known"
    if is_label:
        hint = "the label may only be an output column, plain and under its own name"
    return sql_problem(f"{name} is {_role(is_label)} and cannot be used here.", near_line(node), hint=hint)


def _is_plain_output(column: exp.Column) -> bool:
    from sqlglot import exp

    holder = column.parent
    if isinstance(holder, exp.Alias) and holder.alias.lower() == column.name.lower():
        return gives_column(holder.parent, column.name.lower())
    return column.arg_key == "expressions" and gives_column(holder, column.name.lower())


def _is_of_side_table(column: exp.Column, spec: ModelSpec) -> bool:
    """It is qualified with a side table of the spec, which may well have a column of the same name."""
    from sqlglot import exp

    select = column.find_ancestor(exp.Select)
    if not column.table or select is None:
        return False
    return any(
        isinstance(table, exp.Table)
        and table.alias_or_name.lower() == column.table.lower()
        and table.name.lower() in spec.tables
        for table in read_by(select)
    )


def _stars(query: exp.Select, spec: ModelSpec) -> Iterator[Problem]:
    from sqlglot import exp

    for star in query.find_all(exp.Star):
        holder = star.parent.parent if isinstance(star.parent, exp.Column) else star.parent
        if not isinstance(holder, exp.Select | exp.Count):
            message = "* inside a function takes in every column, the label too."
            yield sql_problem(message, near_line(star), hint="list the columns")
    brought = _brought(query, spec, {cte.alias.lower(): cte.this for cte in query.find_all(exp.CTE)})
    if brought:
        names = ", ".join(sorted(brought))
        yield sql_problem(
            f"* brings in {names}, forbidden by features.forbidden.",
            near_line(next(part for part in query.expressions if part.is_star)),
            hint=f"list the columns, or write * EXCEPT ({names})",
        )


def _brought(select: exp.Select, spec: ModelSpec, named: dict[str, exp.Expr]) -> set[str]:
    """Forbidden columns that reach the rows of a SELECT through a ``*`` over source, however many steps away."""
    from sqlglot import exp

    forbidden = set(spec.features.forbidden) - {spec.label.column}
    found: set[str] = set()
    for part in select.expressions:
        if not part.is_star:
            continue
        star = part.this if isinstance(part, exp.Column) else part
        left_out = {name.name.lower() for name in star.args.get("except_") or star.args.get("except") or ()}
        for table in read_by(select):
            if isinstance(part, exp.Column) and table.alias_or_name.lower() != part.table.lower():
                continue
            found |= {name for name in _reaching(table, spec, named, forbidden) if name.lower() not in left_out}
    return found


def _reaching(table: exp.Expr, spec: ModelSpec, named: dict[str, exp.Expr], forbidden: set[str]) -> set[str]:
    from sqlglot import exp

    if isinstance(table, exp.Table) and table.name.lower() not in named:
        return forbidden if table.name.lower() == "source" else set()
    inner = named[table.name.lower()] if isinstance(table, exp.Table) else table
    # A WITH RECURSIVE may name itself: what it brings in is what its other rows bring in.
    others = {name: query for name, query in named.items() if query is not inner}
    return {name for select in selects_of(inner) for name in _brought(select, spec, others)}


# -- what the result must have ----------------------------------------------------------------------------


def _names(outputs: list[tuple[str | None, exp.Expr]]) -> Iterator[Problem]:
    seen: set[str] = set()
    for name, part in outputs:
        if name is None:
            yield sql_problem("this column has no name.", near_line(part), hint="give it one with AS")
        elif name.lower() in seen:
            yield sql_problem(
                f"two columns of the result are called {name}.", near_line(part), hint="rename one with AS"
            )
        seen.add((name or "").lower())


def _needed(outputs: list[str], spec: ModelSpec) -> Iterator[Problem]:
    for at, name in _columns_of(spec):
        if name not in outputs:
            yield Problem(
                f"{name} is not a column of the result of {spec.prepare}.",
                at,
                allowed=", ".join(outputs),
                hint=did_you_mean(name, outputs) or f"add it to the SELECT in {spec.prepare}",
            )


def _columns_of(spec: ModelSpec) -> Iterator[tuple[YamlPath, str]]:
    """The columns that the stages take from the result, with their places in the YAML."""
    if spec.source.time is not None:
        yield ("source", "time"), spec.source.time
    yield ("label", "column"), spec.label.column
    if spec.gates.fairness is not None:
        yield ("gates", "fairness", "attribute"), spec.gates.fairness.attribute
    lists = {
        ("key",): spec.key,
        ("features", "numeric"): spec.features.numeric,
        ("features", "categorical"): spec.features.categorical,
        ("gates", "slices"): spec.gates.slices,
    }
    for at, names in lists.items():
        for number, name in enumerate(names):
            yield (*at, number), name

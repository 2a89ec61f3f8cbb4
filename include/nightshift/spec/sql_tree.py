"""Small questions about sqlglot's trees: where something stands, what a SELECT reads and gives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nightshift.spec.problem import Problem

if TYPE_CHECKING:
    from sqlglot import exp


def sql_problem(message: str, line: int | None, *, allowed: str | None = None, hint: str | None = None) -> Problem:
    """A problem of the prepare file."""
    return Problem(message, allowed=allowed, hint=hint, line=line or 1, in_sql=True)


def first_line(node: exp.Expr) -> int | None:
    """The smallest line known below a node: sqlglot knows those of names, literals and most functions."""
    return min(_lines(node), default=None)


def last_line(node: exp.Expr) -> int | None:
    """The largest line known below a node."""
    return max(_lines(node), default=None)


def _lines(node: exp.Expr) -> Iterator[int]:
    return (part.meta["line"] for part in node.walk() if "line" in part.meta)


def near_line(node: exp.Expr) -> int | None:
    """The line of a node, else of the nearest thing around it that has one."""
    line: int | None = node.meta.get("line") or first_line(node)
    around = node.parent
    while line is None and around is not None:
        line, around = first_line(around), around.parent
    return line


def in_words(node: exp.Expr) -> str:
    text = str(node.sql(dialect="spark"))
    return text if len(text) <= 60 else text[:59] + "…"


def selects_of(node: exp.Expr | None) -> list[exp.Select]:
    """The SELECTs whose rows a query gives: itself, or both sides of a UNION."""
    from sqlglot import exp

    if isinstance(node, exp.Select):
        return [node]
    if isinstance(node, exp.SetOperation):
        return [*selects_of(node.this), *selects_of(node.expression)]
    return selects_of(node.this) if isinstance(node, exp.Subquery) else []


def read_by(select: exp.Select) -> list[exp.Expr]:
    """What stands in FROM and JOIN of this SELECT: tables and subqueries."""
    clauses = [select.args.get("from_") or select.args.get("from"), *(select.args.get("joins") or ())]
    return [clause.this for clause in clauses if clause is not None]


def gives_column(select: exp.Expr | None, name: str) -> bool:
    """A plain column of the SELECT is a column of that name in the result, in a WITH or in a table in FROM.

    Not so for a SELECT that is a single value or the right side of IN, and not for a UNION whose sides do not
    have the name at the same place.
    """
    from sqlglot import exp

    if not isinstance(select, exp.Select):
        return False
    holder = select.parent
    while isinstance(holder, exp.SetOperation | exp.Subquery):
        if isinstance(holder, exp.SetOperation) and len({_place(part, name) for part in selects_of(holder)}) > 1:
            return False
        if isinstance(holder.parent, exp.From | exp.Join):
            return True
        holder = holder.parent
    return holder is None or isinstance(holder, exp.CTE)


def _place(select: exp.Select, name: str) -> int:
    names = [(output or "").lower() for output, _ in output_names(select) or ()]
    return names.index(name) if name in names else -1


def output_names(select: exp.Select) -> list[tuple[str | None, exp.Expr]] | None:
    """Name of each output column, None where it has none of its own; None altogether if a ``*`` hides them."""
    from sqlglot import exp

    found: list[tuple[str | None, exp.Expr]] = []
    for part in select.expressions:
        if part.is_star:
            return None
        if isinstance(part, exp.Aliases):
            found += [(str(name), part) for name in part.aliases]
        elif isinstance(part, exp.Alias | exp.Column | exp.Dot):
            found.append((part.output_name, part))
        else:
            found.append((None, part))
    return found

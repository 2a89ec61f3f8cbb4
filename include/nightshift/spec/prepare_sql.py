"""What the prepare SQL may say, checked when the spec is loaded, without Spark.

One SELECT over the declared tables: nothing that writes, nothing that reads files or runs programs, nothing that
gives another result the next time. ``prepare_columns`` looks at its columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from nightshift.errors import SpecError
from nightshift.spec.prepare_columns import check_columns
from nightshift.spec.problem import Problem, did_you_mean
from nightshift.spec.problem import in_words as told_of
from nightshift.spec.sql_tree import first_line, in_words, last_line, near_line, sql_problem

if TYPE_CHECKING:
    from sqlglot import exp
    from sqlglot.tokenizer_core import Token

    from nightshift.spec.models import ModelSpec

OUTSIDE = frozenset(
    {
        "reflect",
        "java_method",
        "try_reflect",
        "input_file_name",
        "input_file_block_start",
        "input_file_block_length",
        "read_files",
        "sql",
        "ai_query",
        "http_request",
        "secret",
        "try_secret",
        "list_secrets",
        "current_user",
        "session_user",
    }
)
UNREPEATABLE = frozenset(
    {
        "rand",
        "randn",
        "random",
        "randstr",
        "uniform",
        "uuid",
        "shuffle",
        "now",
        "current_date",
        "current_time",
        "current_timestamp",
        "localtimestamp",
        "curdate",
        "monotonically_increasing_id",
        "spark_partition_id",
    }
)
ONE_SELECT = "exactly one SELECT; WITH may stand before it"


def require_prepare(spec: ModelSpec) -> None:
    """Check the prepare SQL of a spec that was loaded without it.

    Raises:
        SpecError: It cannot be used; the message names each problem, with its line.
    """
    found = check_prepare(spec.prepare_sql, spec)
    if found:
        told = "\n".join(f"{spec.prepare}:{problem.line or 1}: {told_of(problem)}" for problem in found)
        raise SpecError(told, hint=f"nightshift validate {spec.model} says the same, with hints")


def check_prepare(sql: str, spec: ModelSpec) -> tuple[Problem, ...]:
    """Everything that is wrong with the prepare SQL of a spec.

    Args:
        sql: The text of the prepare file.
        spec: The spec; needs source, key, tables, prepare, label, features and gates.

    Returns:
        Problems with a line of the SQL, or with the place in the YAML of a column that the SQL does not give.
    """
    # sqlglot takes a quarter of a second to import: only who checks SQL pays for it.
    from sqlglot import exp

    if "${" in sql:
        line = sql[: sql.index("${")].count("\n") + 1
        return (sql_problem("Spark would fill in ${…} from its environment.", line, hint="write the value"),)
    statements = _parse(sql)
    if isinstance(statements, Problem):
        return (statements,)
    if len(statements) > 1:
        return (sql_problem("a second statement begins here.", first_line(statements[1]), allowed=ONE_SELECT),)
    query = statements[0]
    if not isinstance(query, exp.Select):
        return (_not_a_select(query),)
    return (*_tables(query, spec), *_calls(query), *_arbitrary_rows(query), *check_columns(query, spec))


def _parse(sql: str) -> list[exp.Expr] | Problem:
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import ParseError, TokenError

    try:
        wrong = _wrong_words(sqlglot.tokenize(sql, read="spark"))
        if wrong is not None:
            return wrong
        trees = sqlglot.parse(sql, dialect="spark")
    except ParseError as error:
        first = error.errors[0]
        return sql_problem(
            f"this is not Spark SQL: it cannot be read at {first.get('highlight')!r}.",
            first.get("line"),
            hint="look at what stands before it, too: a comma or a bracket too many or too few",
        )
    except TokenError:
        return _unclosed(sql)
    except RecursionError:
        return sql_problem("the query is nested too deep.", 1, hint="use WITH")
    return [tree for tree in trees if tree is not None and not isinstance(tree, exp.Semicolon)]


def _wrong_words(tokens: list[Token]) -> Problem | None:
    """What sqlglot would forgive or only warn of."""
    words = [(token.text.upper(), token.line) for token in tokens if token.text != ";"]
    if not words:
        return sql_problem("there is no SQL in the file.", 1, allowed=ONE_SELECT)
    if words[0][0] not in ("SELECT", "WITH", "FROM", "("):
        first = words[0][0].split()[0]
        return sql_problem(f"the statement begins with {first}.", words[0][1], allowed=ONE_SELECT)
    for before, after in pairwise(tokens):
        if before.token_type.name == "COMMA" and after.token_type.name == "FROM":
            return sql_problem("there is a comma too many before FROM.", before.line, hint="delete it")
    return None


def _unclosed(sql: str) -> Problem:
    """The quote or comment that is opened and never closed."""
    whole = re.compile(
        r"--[^\n]*|/\*.*?\*/|'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|`[^`]*`|[^-/'\"`]+|[-/](?![-*])", re.S
    )
    position = 0
    while match := whole.match(sql, position):
        position = match.end()
    opened = sql[position : position + 2] if sql[position : position + 2] == "/*" else sql[position : position + 1]
    return sql_problem(f"the {opened} that opens here is never closed.", sql[:position].count("\n") + 1)


def _not_a_select(query: exp.Expr) -> Problem:
    from sqlglot import exp

    hint = "put it into a WITH, and SELECT from that" if isinstance(query, exp.SetOperation) else None
    return sql_problem(f"the statement is {query.key.upper()}.", first_line(query), allowed=ONE_SELECT, hint=hint)


def _tables(query: exp.Select, spec: ModelSpec) -> Iterator[Problem]:
    from sqlglot import exp

    declared = ["source", *spec.tables]
    allowed = f"the tables {', '.join(declared)}, and names of WITH"
    named = {cte.alias.lower() for cte in query.find_all(exp.CTE)}
    tables = [table for table in query.find_all(exp.Table) if table.find_ancestor(exp.Hint) is None]
    for name in sorted(named & set(declared)):
        yield sql_problem(f"WITH gives the name {name}, which a table of the spec has.", 1, hint="take another name")
    for table in tables:
        name, line = table.name, first_line(table)
        if not isinstance(table.this, exp.Identifier):
            yield sql_problem(f"{in_words(table.this)} is a function, where a table belongs.", line, allowed=allowed)
        elif table.db or not name.replace("_", "").isalnum():
            yield sql_problem(
                f"{in_words(table)} is not a table of the spec.",
                line,
                allowed=allowed,
                hint="declare files under tables in the spec; their content is then recorded with the night",
            )
        elif name.lower() not in named and name.lower() not in declared:
            near = did_you_mean(name, [*declared, *named])
            hint = near or f"declare {name} under tables in the spec"
            yield sql_problem(f"there is no table {name}.", line, allowed=allowed, hint=hint)
    if "source" not in {table.name.lower() for table in tables}:
        yield sql_problem(
            "nothing is read from source.", 1, hint="source is the model's own rows: SELECT … FROM source"
        )


def _calls(query: exp.Select) -> Iterator[Problem]:
    from sqlglot import exp

    for node in query.find_all(exp.Func, exp.QueryTransform, exp.Into, exp.Placeholder, exp.Parameter):
        if isinstance(node, exp.Func):
            yield from _function(node)
        elif isinstance(node, exp.QueryTransform):
            yield sql_problem("TRANSFORM … USING runs a program.", near_line(node), allowed="functions of Spark SQL")
        elif isinstance(node, exp.Into):
            yield sql_problem("SELECT INTO writes a table.", near_line(node), allowed=ONE_SELECT)
        else:
            yield sql_problem(
                f"nothing fills in the parameter {in_words(node)}.", near_line(node), hint="write the value"
            )


def _function(node: exp.Func) -> Iterator[Problem]:
    from sqlglot import exp

    names = {node.name.lower()} if isinstance(node, exp.Anonymous) else {name.lower() for name in node.sql_names()}
    if outside := names & OUTSIDE:
        yield sql_problem(
            f"{min(outside)}() reaches outside the query.", near_line(node), allowed="functions of columns"
        )
    elif unrepeatable := names & UNREPEATABLE:
        yield sql_problem(
            f"{min(unrepeatable)}() gives something else every time; the same night must give the same model.",
            near_line(node),
            hint="compute it from the row's time column, or leave it out",
        )


def _arbitrary_rows(query: exp.Select) -> Iterator[Problem]:
    from sqlglot import exp

    for node in query.find_all(exp.TableSample):
        yield sql_problem("TABLESAMPLE takes other rows every time.", near_line(node), hint="shorten window.train")
    for key in ("limit", "offset"):
        if query.args.get(key) is not None:
            hint = "filter with WHERE, or shorten window.train"
            yield sql_problem(f"{key.upper()} keeps whichever rows come first.", last_line(query), hint=hint)
    for join in query.find_all(exp.Join):
        if join.method.upper() == "NATURAL":
            message = "NATURAL JOIN joins on every name that the tables happen to share."
            yield sql_problem(message, near_line(join), hint="write ON …, or USING (…)")

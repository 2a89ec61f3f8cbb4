"""``nightshift predict``: score JSON rows with the champion, exactly as every other place does."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import click

from nightshift.cli.console import print_json
from nightshift.cli.models import store_of
from nightshift.errors import DataError, IntegrityError, ModelError
from nightshift.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

    from nightshift.ledger import Candidate, Champion
    from nightshift.model.session import Scorer
    from nightshift.storage import Store

LARGEST = 3.4028234663852886e38
"""The largest float32: requests hold such numbers."""

Row = Mapping[str, Any]
Schema = Sequence[tuple[str, str]]


@click.command()
@click.argument("model")
@click.argument("rows", required=False, default="-")
@click.option("--example", is_flag=True, help="Print a row that can be scored, and score nothing.")
def predict(model: str, rows: str, example: bool) -> None:
    """Score ROWS with the champion of MODEL.

    ROWS is a JSON object or a list of them; - or nothing reads standard input. The model is found by the
    ledger, and its bytes are checked before it is loaded.
    """
    settings = Settings.from_environment()
    store = store_of(settings, model)
    champion = require_champion(store, model)
    if example:
        print_json(example_row(store, champion))
        return
    text = sys.stdin.read() if rows == "-" else rows
    print_json(score(store, champion, parse_rows(text)))


def require_champion(store: Store, model: str) -> Champion:
    """Raises ModelError: The ledger has no promotion yet."""
    from nightshift.ledger import Ledger

    champion = Ledger(store).champion()
    if champion is None:
        raise ModelError(
            f"{model} has no champion yet: nothing has been promoted in {store.objects.root}.",
            hint=f"run: nightshift run {model} --night YYYY-MM-DD",
        )
    return champion


def parse_rows(text: str) -> list[Row] | Row:
    """A JSON object, or a list of objects.

    Raises:
        DataError: It is neither; the message points at the character.
    """
    try:
        value = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_each_once)
    except RecursionError:
        raise DataError("a row is a JSON object, not lists within lists.", hint="see predict --example") from None
    except json.JSONDecodeError as error:
        raise DataError(
            f"the row is not JSON: {error.msg} at line {error.lineno}, column {error.colno}.",
            hint="put it in single quotes: nightshift predict MODEL '{\"distance\": 500, …}'",
        ) from None
    rows = value if isinstance(value, list) else [value]
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise DataError("a row is a JSON object, and several are a list of objects.", hint="see predict --example")
    return value  # type: ignore[no-any-return]


def _no_constant(name: str) -> NoReturn:
    raise DataError(f"the row has {name}, which is not JSON.", hint="write null for what is missing")


def _each_once(pairs: list[tuple[str, Any]]) -> Row:
    row = dict(pairs)
    if len(row) < len(pairs):
        twice = next(name for place, (name, _) in enumerate(pairs) if name in dict(pairs[:place]))
        raise DataError(f"the row has {json.dumps(twice)} twice.", hint="write each column once")
    return row


def score(store: Store, champion: Champion, rows: list[Row] | Row) -> list[dict[str, Any]] | dict[str, Any]:
    """What the model tells of each row, in the shape that was given: one object for one row.

    Raises:
        DataError: A row lacks a field, has one too many, or holds a value of the wrong type.
        IntegrityError: The stored model is not the one that was promoted.
    """
    listed = rows if isinstance(rows, list) else [rows]
    scorer, card = load_model(store, champion)
    schema = [(name, kind) for name, kind in card["request"]]
    frame = frame_of(listed, schema)
    version = {"model_version": champion.model_version, "model_digest": champion.model_digest}
    scored = [{**told, **version} for told in tell(scorer, frame, card)]
    return scored if isinstance(rows, list) else scored[0]


def tell(scorer: Scorer, frame: pd.DataFrame, card: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of each row, by task: probability and label; label and the probability of every class; or the label's value.

    Args:
        scorer: The model.
        frame: The rows.
        card: Its ``model.json``; a value is told under the name of the label's column.
    """
    scores = scorer.score(frame)
    if scorer.task == "regression":
        # The shortest text of the float32: decimals would cut small values and show digits that large ones do not have.
        return [{card["label"]["column"]: float(str(score))} for score in scores]
    labels = scorer.labels(frame).tolist()
    if scorer.task == "binary":
        return [
            {"probability": round(score, 6), "label": label}
            for score, label in zip(scores.tolist(), labels, strict=True)
        ]
    return [
        {
            "label": label,
            "probabilities": {name: round(value, 6) for name, value in zip(scorer.classes, row, strict=True)},
        }
        for label, row in zip(labels, scores.tolist(), strict=True)
    ]


def load_model(store: Store, version: Candidate) -> tuple[Scorer, dict[str, Any]]:
    """A version's scorer and its ``model.json``, digests checked."""
    from nightshift.model.session import Scorer

    manifest = store.resolve(version.train)
    graph = store.read(manifest, "graph.onnx")
    card = json.loads(store.read(manifest, "model.json"))
    if card["graph_sha256"] != version.model_digest:
        raise IntegrityError(f"{version.train} does not hold the graph that the ledger promoted.")
    return Scorer.load(graph, digest=version.model_digest), card


def example_row(store: Store, version: Candidate) -> dict[str, Any]:
    """A real row of a version's own holdout, with every field filled where there is such a row."""
    train = store.resolve(version.train)
    card = json.loads(store.read(train, "model.json"))
    names = [name for name, _ in card["request"]]
    holdout = store.read_table(store.resolve(train.inputs["preprocess"]), "holdout", columns=names)
    frame = holdout.to_pandas()
    whole = frame.dropna()
    row = (whole if len(whole) else frame).iloc[0]
    kinds = dict(card["request"])
    return {name: _plain(row[name], kinds[name]) for name in names}


def _plain(value: Any, kind: str) -> str | int | float | None:
    """A value as JSON has it; whole numbers without a point."""
    import pandas as pd

    if pd.isna(value):
        return None
    if kind == "categorical":
        return str(value)
    number = float(value)
    return int(number) if number.is_integer() else round(number, 6)


def frame_of(rows: Sequence[Row], schema: Schema) -> pd.DataFrame:
    """Rows as the model takes them; raises DataError as ``score`` does."""
    import pandas as pd

    names = [name for name, _ in schema]
    for place, row in enumerate(rows, start=1):
        _check_row(row, schema, where=f"row {place}" if len(rows) > 1 else "the row")
    columns: dict[str, Any] = {}
    for name, kind in schema:
        values = [row[name] for row in rows]
        dtype = "float32" if kind == "numeric" else "object"
        columns[name] = pd.Series(values, dtype=dtype)
    return pd.DataFrame(columns, columns=names)


def _check_row(row: Row, schema: Schema, *, where: str) -> None:
    names = {name for name, _ in schema}
    missing = [f"{name} ({kind})" for name, kind in schema if name not in row]
    unknown = sorted(set(row) - names)
    if missing or unknown:
        lacks = f"lacks {', '.join(missing)}" if missing else ""
        extra = f"has {', '.join(unknown)}, which the model does not know" if unknown else ""
        listed = ", ".join(f"{name}: {'number' if kind == 'numeric' else 'text'} or null" for name, kind in schema)
        raise DataError(f"{where} {' and '.join(filter(None, (lacks, extra)))}.", hint=f"a row is {{{listed}}}")
    for name, kind in schema:
        _check_value(row[name], kind, name=name, where=where)


def _check_value(value: Any, kind: str, *, name: str, where: str) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float) if kind == "numeric" else str):
        expected = "a number" if kind == "numeric" else "text"
        raise DataError(f"{where} has {json.dumps(value)} in {name}, which must be {expected} or null.")
    if isinstance(value, str):
        if not _is_unicode(value):
            raise DataError(f"{where} has {json.dumps(value)} in {name}, half of a surrogate pair, which is no text.")
    elif not abs(value) <= LARGEST:
        raise DataError(
            f"{where} has a number in {name} that float32 cannot hold.",
            hint=f"numbers go from {-LARGEST:.8g} to {LARGEST:.8g}; write null for what is missing",
        )


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True

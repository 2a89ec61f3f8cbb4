"""``nightshift explain-prediction``: what each column of one row adds to what the model says of it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape

from nightshift.cli.champion import Day
from nightshift.cli.console import metric, out, print_json, table
from nightshift.cli.models import store_of
from nightshift.cli.moves import VersionNumber
from nightshift.cli.predict import Row, example_row, frame_of, load_model, parse_rows, require_champion, tell
from nightshift.errors import DataError, IntegrityError, ModelError
from nightshift.settings import Settings

if TYPE_CHECKING:
    from nightshift.ledger import Candidate
    from nightshift.model.attributions import Attributions, Explainer
    from nightshift.model.session import Scorer
    from nightshift.storage import Store

BAR = 20
UNITS = {
    "log-odds": "log-odds of {of}",
    "margin": "margin of class {of}, which softmax makes a probability of",
    "probability": "probability of {of}",
    "value": "{of}",
}
METHODS = {
    "tree_shap": "SHAP values of the trees, exact; base and columns add up to the score.",
    "linear_shap": "SHAP values of a linear model: coefficient times distance from the mean. They add up to the score.",
    "replacement": (
        "How far the score falls, on average, with the column's value replaced. What acts together is counted in each "
        "column, so the numbers do not add up."
    ),
}


@click.command("explain-prediction")
@click.argument("model")
@click.argument("row", required=False, default="-")
@click.option("--version", "number", type=VersionNumber(), help="This version instead of the champion.")
@click.option("--night", type=Day(), help="The version of this night instead of the champion.")
@click.option("--class", "wanted", help="Of several classes, explain this one; by default the one that is told.")
@click.option("--example", is_flag=True, help="Print a row that can be explained, and explain nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain_prediction(
    *, model: str, row: str, number: int | None, night: date | None, wanted: str | None, example: bool, as_json: bool
) -> None:
    """Explain what the champion of MODEL says of one ROW.

    ROW is a JSON object, as for nightshift predict; - or nothing reads standard input. Each column is told with what
    it adds to the score, in the names of the request. The row is compared with rows of the model's own training
    window, which have to be in storage still.
    """
    if number is not None and night is not None:
        raise click.UsageError("--version and --night both name a version: give one of them.")
    store = store_of(Settings.from_environment(), model)
    candidate = _wanted(store, model, number, night)
    if example:
        print_json(example_row(store, candidate))
        return
    rows = parse_rows(sys.stdin.read() if row == "-" else row)
    one = rows if isinstance(rows, Mapping) else rows[0]
    if isinstance(rows, list) and len(rows) > 1:
        raise DataError(f"{len(rows)} rows were given, and one is explained at a time.")
    told = explain(store, candidate, one, wanted)
    if as_json:
        print_json(told)
    else:
        _show(model, told)


def _wanted(store: Store, model: str, number: int | None, night: date | None) -> Candidate:
    """The version to explain.

    Raises:
        ModelError: There is none.
    """
    from nightshift.deploy.by_hand import Version
    from nightshift.ledger.registered import candidate_of, registrations

    if number is not None:
        return Version.find(store, number).candidate
    if night is None:
        return require_champion(store, model)
    versions = (candidate_of(manifest) for manifest in registrations(store))
    found = next((one for one in versions if one.interval.night == night), None)
    if found is None:
        raise ModelError(
            f"the night of {night} has no version of {model} in storage.",
            hint=f"see nightshift history {model}, or run it: nightshift run {model} --night {night}",
        )
    return found


def explain(store: Store, candidate: Candidate, row: Row, wanted: str | None = None) -> dict[str, Any]:
    """What each column adds, the largest first, and what is needed to read it.

    Args:
        store: The model's area.
        candidate: The version.
        row: The request.
        wanted: For several classes, the one to explain; None for the one that the model tells.

    Raises:
        DataError: The row lacks a field, has one too many, or holds a value of the wrong type.
        IntegrityError: The model is not the one on record, or its training window is not in storage any more.
        ModelError: There is no such class.
    """
    import pyarrow as pa

    scorer, card = load_model(store, candidate)
    frame = frame_of([row], [(name, kind) for name, kind in card["request"]])
    prediction = tell(scorer, frame, card)[0]
    place, of = _output(scorer, prediction, wanted)
    explainer, background = _explainer(store, candidate)
    found = explainer.explain(pa.Table.from_pandas(frame, preserve_index=False))
    return {
        "model_version": candidate.model_version,
        "model_digest": candidate.model_digest,
        "night": str(candidate.interval.night),
        "prediction": prediction,
        **_told(found, place, row),
        "explained": of,
        "background": background,
    }


def _output(scorer: Scorer, prediction: Mapping[str, Any], wanted: str | None) -> tuple[int, str]:
    """Place and name of the score to explain.

    Raises:
        ModelError: There is no such class, or the model has none to choose from.
    """
    if scorer.task != "multiclass":
        if wanted is not None:
            raise ModelError(f"a {scorer.task} model has no classes to choose from.", hint="leave out --class")
        return 0, "the positive class" if scorer.task == "binary" else next(iter(prediction))
    of = prediction["label"] if wanted is None else wanted
    if of not in scorer.classes:
        raise ModelError(f"there is no class {of!r}.", hint=f"the classes are {', '.join(scorer.classes)}")
    return scorer.classes.index(of), of


def _told(found: Attributions, place: int, row: Row) -> dict[str, Any]:
    values = dict(zip(found.columns, found.values[0, :, place].tolist(), strict=True))
    ordered = sorted(values, key=lambda name: (-abs(values[name]), name))
    return {
        "method": found.method,
        "unit": found.unit,
        "score": float(found.raw[0, place]),
        "base": float(found.base[place]),
        "adds_up": found.adds_up,
        "columns": [{"column": name, "value": row[name], "adds": values[name]} for name in ordered],
    }


def _explainer(store: Store, candidate: Candidate) -> tuple[Explainer, dict[str, Any]]:
    """The version's explainer, and what it compares with.

    Raises:
        IntegrityError: The training window is not in storage any more.
    """
    from nightshift.model.attributions import SEED, background_of, explainer_of
    from nightshift.transforms import Transforms

    train = store.resolve(candidate.train)
    ref = train.inputs["preprocess"]
    try:
        given = store.resolve(ref)
        transforms = Transforms.from_json(store.read(given, "transforms.json"))
        names = [name for name, _ in transforms.request_columns]
        background = background_of(store.read_table(given, "train", columns=names))
    except IntegrityError as error:
        night = candidate.interval.night
        raise IntegrityError(
            f"v{candidate.model_version} cannot be explained: its training window, {ref}, cannot be read. "
            f"{error.message}",
            hint="the data of champions is kept: explain the champion; or run the night again, which makes a new "
            f"version with data of its own: nightshift run MODEL --night {night}",
        ) from error
    about = {"rows": len(background), "of": str(ref), "seed": SEED}
    graph = store.read(train, "graph.onnx")
    return explainer_of(graph, transforms.columns_of_features, background, digest=candidate.model_digest), about


def _show(model: str, told: dict[str, Any]) -> None:
    prediction = ", ".join(f"{name} {_shown(value)}" for name, value in told["prediction"].items())
    _say(f"[bold]{escape(model)} v{told['model_version']}[/] of night {told['night']}: {escape(prediction)}")
    unit = UNITS[told["unit"]].format(of=told["explained"])
    # A sentence begins large, but for the name of a column.
    unit = unit if unit == told["explained"] else unit[:1].upper() + unit[1:]
    ends = f"{escape(unit)}: {metric(told['score'])}; over the background {metric(told['base'])}."
    _say(f"{ends}\n")
    longest = max((abs(one["adds"]) for one in told["columns"]), default=0.0) or 1.0
    lines = table("column", ("value", "right"), ("adds", "right"), "")
    for one in told["columns"]:
        adds = one["adds"]
        bar = "█" * round(BAR * abs(adds) / longest)
        colour = "red" if adds < 0 else "green"
        lines.add_row(escape(one["column"]), escape(_shown(one["value"])), _signed(adds), f"[{colour}]{bar}[/]")
    out().print(lines)
    background = told["background"]
    _say(f"\n{METHODS[told['method']]}")
    _say(f"Compared with {background['rows']} rows drawn from the training window, {escape(background['of'])}.")


def _shown(value: Any) -> str:
    if value is None:
        return "missing"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(of)}" for name, of in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)


def _signed(value: float) -> str:
    return f"{'−' if value < 0 else '+'}{metric(abs(value))}"


def _say(text: str) -> None:
    out().print(text, soft_wrap=True)

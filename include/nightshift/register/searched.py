"""What MLflow is told of a search: one run for each trial."""

from __future__ import annotations

import json
from typing import Any

from nightshift.registry.trial_runs import TrialRun
from nightshift.storage import Manifest, Store

REASON_CHARACTERS = 500


def trials_of(store: Store, train: Manifest) -> list[TrialRun]:
    """The trials behind a model; none where nothing was searched."""
    if not train.has("search.json"):
        return []
    study = json.loads(store.read(train, "search.json"))
    return [_trial(one, study["metric"], is_best=one["number"] == study["best"]) for one in study["trials"]]


def _trial(one: dict[str, Any], metric: str, *, is_best: bool) -> TrialRun:
    whole = {metric: [one["mean"]]} if one["state"] == "complete" else {}
    tags = {"nightshift.trial.state": one["state"], "nightshift.trial.best": str(is_best).lower()}
    return TrialRun(
        number=one["number"] + 1,
        params={**one["params"], "engine": one["engine"]},
        tags=tags | ({"nightshift.trial.error": one["error"][:REASON_CHARACTERS]} if one["error"] else {}),
        metrics={**whole, f"fold_{metric}": one["values"], "seconds": [one["seconds"]]},
        failed=one["state"] == "failed",
    )

"""What the challenger has to be better than: a constant answer, and the best single feature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nightshift.evaluate.metrics import rounded
from nightshift.evaluate.task import Fallback, Task
from nightshift.spec.gate_metrics import METRICS, allowed_for
from nightshift.spec.models import Features

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Numbers = NDArray[np.floating[Any]]

TREE_LEAVES = 16
TREE_LEAF_ROWS = 20


def majority(train_labels: NDArray[np.integer[Any]], labels: NDArray[np.integer[Any]]) -> dict[str, Any]:
    """The model that always answers with the training window's share of positives.

    Args:
        train_labels: 0 or 1, shape [training rows].
        labels: 0 or 1, shape [holdout rows].
    """
    import numpy as np
    from sklearn.metrics import log_loss

    rate = float(train_labels.mean())
    return {
        "rate": rounded(rate),
        "roc_auc": 0.5,
        "log_loss": rounded(log_loss(labels, np.full(len(labels), rate), labels=[0, 1])),
    }


def best_single_feature(
    train: pd.DataFrame, holdout: pd.DataFrame, features: Features
) -> tuple[dict[str, Any], Numbers]:
    """The one feature that ranks the training rows best, and how it ranks the holdout's.

    A number counts as it is, or turned around where that is better on the training rows; a text counts as
    the share of positives of its training rows. Nothing is chosen on the holdout.

    Args:
        train: The features and ``__label`` of the training window.
        holdout: The same columns of the holdout.
        features: Names of numeric and categorical features.

    Returns:
        Its name and metrics, and how it ranks the holdout's rows, shape [rows].
    """
    from sklearn.metrics import roc_auc_score

    candidates = []
    for name in (*features.numeric, *features.categorical):
        rank = _numeric if name in features.numeric else _categorical
        ranking, of_holdout, orientation = rank(train, holdout, name)
        auc = rounded(roc_auc_score(train["__label"], ranking))
        candidates.append((auc, {"feature": name, "orientation": orientation, "train_roc_auc": auc}, of_holdout))
    _, best, of_holdout = max(candidates, key=lambda candidate: candidate[0])
    return {**best, "roc_auc": rounded(roc_auc_score(holdout["__label"], of_holdout))}, of_holdout


def _numeric(train: pd.DataFrame, holdout: pd.DataFrame, name: str) -> tuple[Numbers, Numbers, str]:
    import numpy as np
    from sklearn.metrics import roc_auc_score

    values = train[name].to_numpy(np.float64, na_value=np.nan)
    of_holdout = holdout[name].to_numpy(np.float64, na_value=np.nan)
    middle = float(np.nanmedian(values)) if np.isfinite(values).any() else 0.0
    values, of_holdout = (
        np.nan_to_num(array, nan=middle, posinf=np.finfo(np.float64).max, neginf=np.finfo(np.float64).min)
        for array in (values, of_holdout)
    )
    if roc_auc_score(train["__label"], values) < 0.5:
        return -values, -of_holdout, "lower"
    return values, of_holdout, "higher"


def _categorical(train: pd.DataFrame, holdout: pd.DataFrame, name: str) -> tuple[Numbers, Numbers, str]:
    labels = train["__label"].astype("float64")
    share = labels.groupby(train[name]).mean()
    overall = float(labels.mean())
    ranking, of_holdout = (
        frame[name].map(share).astype("float64").fillna(overall).to_numpy() for frame in (train, holdout)
    )
    return ranking, of_holdout, "share of positives"


def best_single_rule(
    train: pd.DataFrame, holdout: pd.DataFrame, features: Features, task: Task, metric: str, *, wanted: Numbers
) -> Fallback:
    """The one feature that a rule of thumb does best with: a small tree over a number, a mean for each text.

    Chosen by its metric on the training rows; nothing is chosen on the holdout.

    Args:
        train: The features and ``__label`` of the training window.
        holdout: The same columns of the holdout.
        features: Names of numeric and categorical features.
        task: Measures the answers.
        metric: The one that chooses.
        wanted: What the rule is to say of the training rows, shape [rows, answers]: the label, or a 1 for its class.
    """
    best: tuple[float, str, Numbers] | None = None
    for name in (*features.numeric, *features.categorical):
        answer = _by_tree if name in features.numeric else _by_level
        of_train, of_holdout = answer(train[name], holdout[name], wanted)
        value = task.value(metric, train["__label"].to_numpy(), of_train)
        if best is None or (value > best[0] if METRICS[metric].higher_is_better else value < best[0]):
            best = (value, name, of_holdout)
    if best is None:
        raise ValueError("a spec has at least one feature")
    value, name, answers = best
    labels = holdout["__label"].to_numpy()
    told: dict[str, Any] = {one: task.value(one, labels, answers) for one in allowed_for(task.name)}
    return Fallback({"feature": name, f"train_{metric}": value, **told}, answers)


def _by_tree(train: pd.Series, holdout: pd.Series, wanted: Numbers) -> tuple[Numbers, Numbers]:
    import numpy as np
    from sklearn.tree import DecisionTreeRegressor

    limits = np.finfo(np.float32)
    of_train, of_holdout = (
        np.clip(series.to_numpy(np.float64, na_value=np.nan), limits.min, limits.max)[:, None]
        for series in (train, holdout)
    )
    tree = DecisionTreeRegressor(max_leaf_nodes=TREE_LEAVES, min_samples_leaf=TREE_LEAF_ROWS, random_state=0)
    tree.fit(of_train, wanted)
    return _shaped(tree.predict(of_train), wanted), _shaped(tree.predict(of_holdout), wanted)


def _by_level(train: pd.Series, holdout: pd.Series, wanted: Numbers) -> tuple[Numbers, Numbers]:
    import numpy as np
    import pandas as pd

    means = pd.DataFrame(wanted).groupby(train.to_numpy(dtype=object), dropna=True).mean()
    places = (means.index.get_indexer(pd.Index(series.to_numpy(dtype=object))) for series in (train, holdout))
    rows = np.vstack([means.to_numpy(), wanted.mean(axis=0)])  # the last one is for a level that training lacks
    of_train, of_holdout = (_shaped(rows[place], wanted) for place in places)
    return of_train, of_holdout


def _shaped(answers: Numbers, wanted: Numbers) -> Numbers:
    """Shape [rows] for one number, [rows, classes] for shares."""
    return answers.reshape(-1) if wanted.shape[1] == 1 else answers.reshape(-1, wanted.shape[1])

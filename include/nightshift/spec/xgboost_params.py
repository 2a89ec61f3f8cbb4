"""Which parameters of xgboost a spec may set."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from nightshift.spec.parameters import OneOf, Parameters, Rule, Single, Value, Whole
from nightshift.spec.problem import Problem

if TYPE_CHECKING:
    from nightshift.spec.values import Task

OBJECTIVES: dict[Task, tuple[str, ...]] = {
    "binary": ("binary:logistic",),
    "multiclass": ("multi:softprob",),
    "regression": ("reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror"),
}
"""What may be learned, by task, the default first: each gives the score itself, a probability or the label's value."""
_SHARE = Single(0, 1, above=True)
ALLOWED: dict[str, Rule] = {
    "n_estimators": Whole(1, 100_000),
    "max_depth": Whole(0, 30),
    "max_leaves": Whole(0, 1 << 20),
    "max_bin": Whole(2, 65_535),
    "grow_policy": OneOf(("depthwise", "lossguide")),
    "learning_rate": _SHARE,
    "min_child_weight": Single(0),
    "gamma": Single(0),
    "max_delta_step": Single(0),
    "subsample": _SHARE,
    "colsample_bytree": _SHARE,
    "colsample_bylevel": _SHARE,
    "colsample_bynode": _SHARE,
    "reg_alpha": Single(0),
    "reg_lambda": Single(0),
    "scale_pos_weight": Single(0, above=True),
    "base_score": Single(-math.inf),
    "objective": OneOf(tuple(sorted({name for names in OBJECTIVES.values() for name in names}))),
}
# What a parameter may be where the task says more than ``ALLOWED``; None: it does nothing there.
BY_TASK: dict[Task, dict[str, Rule | None]] = {
    # Nearer to 0 or 1 xgboost would silently begin with these.
    "binary": {"base_score": Single(1e-6, 0.999999)},
    # The same number for every class: it falls out of the softmax.
    "multiclass": {"base_score": None, "scale_pos_weight": None},
    "regression": {"scale_pos_weight": None},
}
_ELSEWHERE = {
    "eta": "write learning_rate",
    "alpha": "write reg_alpha",
    "lambda": "write reg_lambda",
    "min_split_loss": "write gamma",
    "num_boost_round": "write n_estimators",
    "num_round": "write n_estimators",
    "seed": "set training.seed",
    "random_state": "set training.seed",
    "nthread": "set NIGHTSHIFT_THREADS",
    "n_jobs": "set NIGHTSHIFT_THREADS",
    "num_workers": "set training.workers",
    "num_class": "it is the number of label.classes",
    "tree_method": "it is always hist",
    "booster": "it is always gbtree",
    "device": "it is always cpu",
    "missing": "it is always NaN; nulls become NaN",
    "eval_metric": "the gates choose the metric that counts",
    "verbosity": "progress is logged by the train stage",
    "early_stopping_rounds": "set n_estimators; the holdout is for judging, not for stopping",
}


class XGBoostParameters(Parameters):
    """An objective has to be one of the task's."""

    def problems_of_task(self, params: Mapping[str, Value], task: Task) -> Iterator[Problem]:
        """See ``EngineParams.problems_of_task``."""
        objective = params.get("objective")
        learner = next((other for other, names in OBJECTIVES.items() if objective in names), task)
        if learner != task:
            yield Problem(
                f"{objective} learns {learner}, and the task is {task}.",
                ("training", "params", "objective"),
                allowed=", ".join(OBJECTIVES[task]),
                hint="drop it, or see label.task",
            )
        yield from super().problems_of_task(params, task)


XGBOOST = XGBoostParameters(ALLOWED, _ELSEWHERE, BY_TASK)

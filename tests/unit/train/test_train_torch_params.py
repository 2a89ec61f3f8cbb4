"""Which parameters of the engine torch a spec may set; and that no torch is needed to know it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from nightshift.spec.models import Training
from nightshift.spec.torch_params import ALLOWED, DEFAULTS

GOOD = {"hidden_layers": 3, "hidden_width": 128, "epochs": 5, "batch_size": 512, "dropout": 0, "weight_decay": 0}


def test_good_parameters_pass() -> None:
    assert Training(engine="torch").params == {}
    assert Training(engine="torch", params=GOOD).params == GOOD
    assert Training(engine="torch", params=DEFAULTS).params == DEFAULTS
    assert DEFAULTS.keys() == ALLOWED.keys()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("hidden_layer", 2, "did you mean hidden_layers"),
        ("lr", 0.1, "write learning_rate"),
        ("n_estimators", 10, "is no parameter that a spec can set"),
        ("optimizer", "sgd", "it is always AdamW"),
        ("device", "cuda", "a GPU is used where there is one"),
        ("num_workers", 2, r"set training\.workers"),
        ("hidden_layers", 0, "0 is not a whole number from 1 to 16"),
        ("epochs", 2.0, "is not a whole number"),
        ("batch_size", True, "is not a whole number"),
        ("dropout", 1, "below 1"),
        ("learning_rate", 0, "above 0"),
        ("learning_rate", float("nan"), "above 0"),
        ("weight_decay", -1, "at least 0"),
    ],
)
def test_bad_parameters_are_named(name: str, value: Any, words: str) -> None:
    with pytest.raises(ValueError, match=name) as caught:
        Training(engine="torch", params={**GOOD, name: value})
    assert re.search(words, str(caught.value)), str(caught.value)

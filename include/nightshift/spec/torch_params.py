"""Which parameters of the engine torch a spec may set."""

from __future__ import annotations

from nightshift.spec.parameters import Parameters, Real, Rule, Value, Whole

ALLOWED: dict[str, Rule] = {
    "hidden_layers": Whole(1, 16),
    "hidden_width": Whole(1, 4096),
    "epochs": Whole(1, 10_000),
    "batch_size": Whole(1, 1 << 20),
    "learning_rate": Real(0, 1, above=True),
    "dropout": Real(0, 1, below=True),
    "weight_decay": Real(0, 1),
}
DEFAULTS: dict[str, Value] = {
    "hidden_layers": 2,
    "hidden_width": 64,
    "epochs": 20,
    "batch_size": 256,
    "learning_rate": 1e-3,
    "dropout": 0.0,
    "weight_decay": 1e-4,
}
_ELSEWHERE = {
    "lr": "write learning_rate",
    "n_epochs": "write epochs",
    "max_epochs": "write epochs",
    "max_iter": "write epochs",
    "layers": "write hidden_layers and hidden_width",
    "num_layers": "write hidden_layers",
    "n_layers": "write hidden_layers",
    "depth": "write hidden_layers",
    "width": "write hidden_width",
    "hidden_size": "write hidden_width",
    "hidden_dim": "write hidden_width",
    "hidden_layer_sizes": "write hidden_layers and hidden_width; all layers are of one width",
    "l2": "write weight_decay",
    "alpha": "write weight_decay",
    "momentum": "the optimiser is always AdamW",
    "optimizer": "it is always AdamW",
    "activation": "it is always ReLU",
    "loss": "it follows from label.task",
    "seed": "set training.seed",
    "random_state": "set training.seed",
    "device": "a GPU is used where there is one",
    "num_workers": "set training.workers",
    "num_threads": "set NIGHTSHIFT_THREADS",
    "num_class": "it is the number of label.classes",
    "patience": "set epochs; the holdout is for judging, not for stopping",
    "early_stopping": "set epochs; the holdout is for judging, not for stopping",
}

TORCH = Parameters(ALLOWED, _ELSEWHERE)

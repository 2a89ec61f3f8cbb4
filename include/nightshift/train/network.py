"""A tabular network, learned by PyTorch: by one process, or by several that each hold a share of the rows.

Everything random follows from the seed, the epoch and the rank, so training that goes on from a checkpoint ends
with the model of one that was never disturbed.
"""

from __future__ import annotations

import copy
import hashlib
import io
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from nightshift.errors import DataError, ModelError
from nightshift.model.heads.network import NetworkHead, Standard
from nightshift.spec.values import Task
from nightshift.storage.crash_points import crash_point
from nightshift.storage.objects import first_line
from nightshift.train.checkpoints import Checkpoints
from nightshift.train.ranks import Ranks
from nightshift.train.standardise import standard_of, standardised

if TYPE_CHECKING:
    import numpy as np
    import torch

    Array = np.ndarray[Any, Any]

log = logging.getLogger(__name__)

LOSSES: dict[Task, str] = {"binary": "logloss", "multiclass": "mlogloss", "regression": "rmse"}
LINES = 50
BLOCK = 65_536


@dataclass(frozen=True)
class Recipe:
    """What is to be learned, in words that JSON knows.

    Attributes:
        task: What the network tells.
        classes: For multiclass, how many; else 0.
        params: Every parameter of ``spec.torch_params``.
        seed: Seed of everything random.
        rows: How many there are, over all ranks.
    """

    task: Task
    classes: int
    params: Mapping[str, Any]
    seed: int
    rows: int

    @property
    def outputs(self) -> int:
        return self.classes if self.task == "multiclass" else 1


@dataclass(frozen=True)
class Network:
    """What was learned.

    Attributes:
        recipe: What was asked for.
        standard: Of the features.
        label: Of the label, for regression; else None.
        module: The layers, on the processor.
    """

    recipe: Recipe
    standard: Standard
    label: Standard | None
    module: torch.nn.Sequential

    def head(self) -> NetworkHead:
        """The same for the graph."""
        import torch

        linear = [each for each in self.module if isinstance(each, torch.nn.Linear)]
        layers = [(each.weight.detach().numpy(), each.bias.detach().numpy()) for each in linear]
        mean, scale = (0.0, 1.0) if self.label is None else (self.label.means[0], 1 / self.label.scales[0])
        return NetworkHead(self.recipe.task, self.standard, layers, float(mean), float(scale))

    def scores(self, vectors: Array) -> Array:
        """What the network says, in float64 as the graph does; see ``Head.onnx_nodes`` for the shapes.

        Args:
            vectors: ``[M, F]`` float32; missing is NaN.
        """
        import numpy as np
        import torch

        exact = copy.deepcopy(self.module).double().eval()
        parts = []
        with torch.inference_mode():
            for start in range(0, len(vectors), BLOCK):
                rows = torch.from_numpy(standardised(vectors[start : start + BLOCK], self.standard, np.float64))
                parts.append(self._told(exact(rows)).to(torch.float32).numpy())
        shape = (0, self.recipe.classes) if self.recipe.task == "multiclass" else 0
        return np.concatenate(parts) if parts else np.empty(shape, np.float32)

    def _told(self, raw: torch.Tensor) -> torch.Tensor:
        if self.recipe.task == "multiclass":
            return raw.softmax(1)
        if self.label is None:
            return raw.squeeze(1).sigmoid()
        return raw.squeeze(1) * (1 / float(self.label.scales[0])) + float(self.label.means[0])

    def to_bytes(self) -> bytes:
        """A file that ``torch.load`` reads with ``weights_only``."""
        import torch

        standards = {"features": self.standard} | ({} if self.label is None else {"label": self.label})
        return _saved(
            {
                "recipe": json.dumps(asdict(self.recipe)),
                "standards": {
                    name: [torch.from_numpy(each.means), torch.from_numpy(each.scales)]
                    for name, each in standards.items()
                },
                "layers": self.module.state_dict(),
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Network:
        """Raises ModelError: The bytes are not a network of this version."""
        found = _loaded(data)
        try:
            recipe = Recipe(**json.loads(found["recipe"]))
            standards = {
                name: Standard(means.numpy(), scales.numpy()) for name, (means, scales) in found["standards"].items()
            }
            module = module_of(recipe, len(standards["features"].means))
            module.load_state_dict(found["layers"])
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise ModelError(f"a network cannot be read: {error}") from error
        return cls(recipe, standards["features"], standards.get("label"), module)


def learn(
    recipe: Recipe, vectors: Array, labels: Array, *, ranks: Ranks, threads: int, checkpoints: Checkpoints | None
) -> Network:
    """Train; every rank ends with the same network.

    Args:
        recipe: What to learn.
        vectors: ``[n, F]`` float32, the rows of this rank; missing is NaN.
        labels: ``[n]``, their labels.
        ranks: Who learns together.
        threads: Threads of this process.
        checkpoints: Where to leave one after every epoch, and to look for one first; None: nowhere.

    Raises:
        DataError: The loss is not a number.
        StorageError: A checkpoint cannot be written.
    """
    import numpy as np

    standard = standard_of(vectors, ranks)
    label = None
    if recipe.task == "regression":
        numbers = labels.astype(np.float32)[:, None]
        label = standard_of(numbers, ranks)
        labels = ((numbers.astype(np.float64) - label.means) * label.scales)[:, 0]
    with deterministic(threads):
        trainer = Trainer(recipe, standardised(vectors, standard), labels, ranks)
        module = trainer.run(_Kept.of(checkpoints, trainer, threads), 1.0 if label is None else 1 / label.scales[0])
    return Network(recipe, standard, label, module)


class Trainer:
    """Epoch after epoch over the rows of this rank.

    Args:
        recipe: What to learn.
        inputs: ``[n, F]`` float32, standardised.
        labels: ``[n]``; for regression standardised.
        ranks: Who learns together.
    """

    def __init__(self, recipe: Recipe, inputs: Array, labels: Array, ranks: Ranks) -> None:
        import numpy as np
        import torch

        self.recipe, self.ranks = recipe, ranks
        self.inputs = torch.from_numpy(inputs)
        wanted = np.int64 if recipe.task == "multiclass" else np.float32
        self.labels = torch.from_numpy(labels.astype(wanted))
        # Every rank takes as many steps as the others, and has a row for each.
        own = max(1, int(recipe.params["batch_size"]) // ranks.size)
        self.steps = max(1, -(-(recipe.rows // ranks.size) // own))
        gpu = torch.cuda.is_available()
        self.device = torch.device("cuda", torch.cuda.current_device()) if gpu else torch.device("cpu")
        torch.manual_seed(seed_of(recipe.seed, "weights"))
        self.module = module_of(recipe, inputs.shape[1]).to(self.device)
        self.optimizer = torch.optim.AdamW(
            self.module.parameters(),
            lr=float(recipe.params["learning_rate"]),
            weight_decay=float(recipe.params["weight_decay"]),
        )

    def run(self, kept: _Kept, unit: float) -> torch.nn.Sequential:
        """Train from the last checkpoint, or from the beginning.

        Args:
            kept: The checkpoints.
            unit: What a difference of 1 is for people: the labels' deviation.
        """
        import math

        done = kept.restore()
        learner = self.ranks.copies_of(self.module, self.device)
        epochs = int(self.recipe.params["epochs"])
        for epoch in range(done + 1, epochs + 1):
            loss = self._epoch(learner, epoch)
            if not math.isfinite(loss):
                raise DataError(
                    f"the network's loss is {loss} after epoch {epoch}: training ran away.",
                    hint="lower training.params.learning_rate",
                )
            told = math.sqrt(loss) * unit if self.recipe.task == "regression" else loss
            if self.ranks.rank == 0 and (epoch % max(1, epochs // LINES) == 0 or epoch == epochs):
                log.info("train: epoch %d/%d %s %.5f", epoch, epochs, LOSSES[self.recipe.task], told)
            kept.keep(epoch)
        return self.module.cpu().eval()

    def _epoch(self, learner: torch.nn.Module, epoch: int) -> float:
        """The mean loss over the rows of all ranks, while they were learned."""
        import numpy as np
        import torch

        learner.train()
        torch.manual_seed(seed_of(self.recipe.seed, "epoch", epoch, self.ranks.rank))
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for places in torch.randperm(len(self.inputs)).tensor_split(self.steps):
            inputs, labels = self.inputs[places].to(self.device), self.labels[places].to(self.device)
            self.optimizer.zero_grad(set_to_none=True)
            loss = self._loss(learner(inputs), labels)
            loss.backward()
            self.optimizer.step()
            total += loss.detach().double() * len(places)
        summed, rows = self.ranks.total(np.array([total.item(), len(self.inputs)]))
        return float(summed / rows)

    def _loss(self, raw: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        from torch.nn import functional

        if self.recipe.task == "multiclass":
            return functional.cross_entropy(raw, labels)
        if self.recipe.task == "binary":
            return functional.binary_cross_entropy_with_logits(raw.squeeze(1), labels)
        return functional.mse_loss(raw.squeeze(1), labels)

    def identity(self, threads: int) -> str:
        """Digest of everything that the result depends on: a checkpoint of anything else is not taken up."""
        import torch

        digest = hashlib.sha256(self.inputs.numpy().data)
        digest.update(self.labels.numpy().data)
        told = {
            "recipe": asdict(self.recipe),
            "rows": self.ranks.gathered(digest.hexdigest()),
            "torch": torch.__version__,
            "threads": threads,
            "device": self.device.type,
        }
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


class _Kept:
    """The checkpoints of one training: after each epoch, by rank 0."""

    def __init__(self, checkpoints: Checkpoints | None, trainer: Trainer, identity: str) -> None:
        self._checkpoints = checkpoints
        self._trainer = trainer
        self._name = f"{identity}.pt"

    @classmethod
    def of(cls, checkpoints: Checkpoints | None, trainer: Trainer, threads: int) -> _Kept:
        return cls(checkpoints, trainer, "" if checkpoints is None else trainer.identity(threads))

    def restore(self) -> int:
        """Take up the last one; gives its epoch, 0 where there is none."""
        if self._checkpoints is None:
            return 0
        first = self._trainer.ranks.rank == 0
        data = self._trainer.ranks.from_first(self._checkpoints.read(self._name) if first else None)
        if data is None:
            return 0
        try:
            found = _loaded(data)
        except ModelError as error:
            log.warning("train: beginning anew, for the checkpoint is damaged: %s", error.message)
            return 0
        self._trainer.module.load_state_dict(found["module"])
        self._trainer.optimizer.load_state_dict(found["optimizer"])
        epoch = int(found["epoch"])
        if first:
            log.info("train: going on after epoch %d, from a checkpoint", epoch)
        return epoch

    def keep(self, epoch: int) -> None:
        if self._checkpoints is None or self._trainer.ranks.rank != 0:
            return
        data = {
            "epoch": epoch,
            "module": self._trainer.module.state_dict(),
            "optimizer": self._trainer.optimizer.state_dict(),
        }
        self._checkpoints.write(self._name, _saved(data))
        crash_point("after_checkpoint", "train")


def module_of(recipe: Recipe, width: int) -> torch.nn.Sequential:
    """The layers, with the weights that torch begins with."""
    from torch import nn

    layers: list[nn.Module] = []
    for _ in range(int(recipe.params["hidden_layers"])):
        hidden = int(recipe.params["hidden_width"])
        layers += [nn.Linear(width, hidden), nn.ReLU()]
        if recipe.params["dropout"]:
            layers.append(nn.Dropout(float(recipe.params["dropout"])))
        width = hidden
    return nn.Sequential(*layers, nn.Linear(width, recipe.outputs))


def seed_of(seed: int, *what: object) -> int:
    """A seed of its own for everything that is random."""
    return int.from_bytes(hashlib.sha256(repr((seed, *what)).encode()).digest()[:7])


@contextmanager
def deterministic(threads: int) -> Iterator[None]:
    """The same arithmetic every time; torch's settings are put back at the end."""
    import os

    # Read when torch is first imported: threads that spin while they wait made an epoch five times as long on a
    # machine with other work (docs/training.md).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # cuBLAS reads it when a process first uses a GPU; without it, it may choose by what memory is free.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    import torch

    before, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng():
        torch.use_deterministic_algorithms(True)
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)
            torch.use_deterministic_algorithms(strict)


def _saved(value: Mapping[str, Any]) -> bytes:
    import torch

    sink = io.BytesIO()
    torch.save(value, sink)
    return sink.getvalue()


def _loaded(data: bytes) -> Any:
    """Raises ModelError: It is no such file, or has more than numbers, words and tensors in it."""
    import pickle

    import torch

    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise ModelError(f"a network cannot be read: {first_line(error)}") from error

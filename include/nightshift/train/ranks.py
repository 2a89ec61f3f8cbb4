"""The processes that learn together, called ranks as in MPI, and what they tell each other."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    import torch

    Array = np.ndarray[Any, Any]

# A rank whose machine is gone without a word is found out by Spark, within two minutes; this is for what Spark misses.
PATIENCE = timedelta(minutes=10)


class Ranks(Protocol):
    """Every method is called by all ranks, in the same order.

    Attributes:
        rank: Which one this is, from 0.
        size: How many there are.
    """

    rank: int
    size: int

    def lowest(self, values: Array) -> Array:
        """The smallest of all ranks, place by place, float64."""
        ...

    def total(self, values: Array) -> Array:
        """The sums over all ranks, place by place, int64 or float64."""
        ...

    def gathered(self, text: str) -> list[str]:
        """What every rank has said, in their order."""
        ...

    def from_first(self, data: bytes | None) -> bytes | None:
        """What rank 0 has."""
        ...

    def copies_of(self, module: torch.nn.Module, device: torch.device) -> torch.nn.Module:
        """The same module, with equal weights on all ranks now, and with equal gradients after every backward pass."""
        ...


class Alone:
    """One process."""

    rank, size = 0, 1

    def lowest(self, values: Array) -> Array:
        return values

    def total(self, values: Array) -> Array:
        return values

    def gathered(self, text: str) -> list[str]:
        return [text]

    def from_first(self, data: bytes | None) -> bytes | None:
        return data

    def copies_of(self, module: torch.nn.Module, device: torch.device) -> torch.nn.Module:
        return module


class Processes:
    """The processes that torchrun has started, over gloo, or over nccl where each has a GPU.

    A context manager: leaves the group at the end.
    """

    def __init__(self) -> None:
        import torch
        from torch import distributed

        # With both, arrays in the processor's memory go over gloo, and gradients on GPUs over nccl.
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        distributed.init_process_group(backend, timeout=PATIENCE)
        self._distributed: Any = distributed
        self.rank: int = distributed.get_rank()
        self.size: int = distributed.get_world_size()

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        self._distributed.destroy_process_group()

    def lowest(self, values: Array) -> Array:
        return self._reduced(values, self._distributed.ReduceOp.MIN)

    def total(self, values: Array) -> Array:
        return self._reduced(values, self._distributed.ReduceOp.SUM)

    def _reduced(self, values: Array, by: Any) -> Array:
        import torch

        shared = torch.from_numpy(values.copy())
        self._distributed.all_reduce(shared, op=by)
        found: Array = shared.numpy()
        return found

    def gathered(self, text: str) -> list[str]:
        found: list[str] = [""] * self.size
        self._distributed.all_gather_object(found, text)
        return found

    def from_first(self, data: bytes | None) -> bytes | None:
        found = [data]
        self._distributed.broadcast_object_list(found, src=0)
        return found[0]

    def copies_of(self, module: torch.nn.Module, device: torch.device) -> torch.nn.Module:
        from torch.nn.parallel import DistributedDataParallel

        return DistributedDataParallel(module, device_ids=[device.index] if device.type == "cuda" else None)

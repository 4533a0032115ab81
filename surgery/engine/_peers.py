"""Peers: the processes of one `torchrun`, which share the batches of a ranking."""

from __future__ import annotations

import itertools
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar, final

import torch
import torch.distributed as dist
from torch import nn

from surgery import errors
from surgery.engine._options import Engine
from surgery.errors import DataError, SurgeryError

Item = TypeVar("Item")

# Processes wait for the slowest; one that has ended is noticed at once.
_PATIENCE = timedelta(days=1)
_RANKINGS = itertools.count()


@final
class Peers:
    """This process among those that rank together; by default it is the only one.

    Attributes:
        rank: The number of this process.
        world: How many there are.
    """

    def __init__(self, rank: int = 0, world: int = 1, group: Any = None) -> None:
        self.rank, self.world = rank, world
        self._group = group
        self._over = False

    def owns(self, number: int) -> bool:
        """Whether a batch is this process's."""
        return number % self.world == self.rank

    def exchange(self, item: Item, error: Exception | None = None) -> list[Item]:
        """What every process gives here, in their order; each waits for all.

        Raises:
            SurgeryError: Another process failed since the last exchange, or is gone.
            Exception: `error`, if it is the first.
        """
        if self.world == 1:
            return [item]
        told: list[Any] = [None] * self.world
        word = None if error is None else (type(error).__name__, str(error))
        try:
            dist.all_gather_object(told, (word, item), group=self._group)
        except RuntimeError as lost:
            self._over = True
            raise SurgeryError(
                "another process of this ranking has ended or cannot be reached "
                f"(this is rank {self.rank} of {self.world}); see its own output"
            ) from lost
        for rank, (failure, _) in enumerate(told):
            if failure is not None:
                self._over = True
                if rank == self.rank and error is not None:
                    error.add_note(f"on rank {rank} of {self.world}; all end with it")
                    raise error
                raise _other(rank, *failure)
        return [item for _, item in told]

    def tell(self, error: Exception) -> None:
        """Let the others, who wait or will, end with this error too."""
        if self.world > 1 and not self._over:
            self.exchange(None, error)

    def agree(self, facts: Mapping[str, object]) -> None:
        """Raise in every process if they differ in any of these facts."""
        everyone = self.exchange(facts)
        odd = [
            k for k in facts if any(other[k] != everyone[0][k] for other in everyone)
        ]
        if odd:
            raise DataError(
                f"the {self.world} processes do not rank the same: they differ in "
                f"{', '.join(odd)}. Each needs the same model, settings and data, in "
                "the same order (seed what shuffles; no loader that deals out samples "
                "itself); or let each rank by itself: Engine(sharded=False)"
            )

    def placed(self, engine: Engine) -> Engine:
        """The engine with this process's own GPU where only `"cuda"` was said."""
        device = None if engine.device is None else torch.device(engine.device)
        if self.world == 1 or device is None:
            return engine
        if device.type != "cuda" or "cuda:" in str(device):
            return engine
        place = int(os.environ.get("LOCAL_RANK", self.rank))
        return replace(engine, device=f"cuda:{place % torch.cuda.device_count()}")


@contextmanager
def joined(engine: Engine, model: nn.Module) -> Generator[Peers]:
    """Have the processes of this `torchrun` rank together, if there are several.

    What one of them raises in this block, all raise at their next exchange.
    """
    if not (engine.sharded and _world() > 1) or _spread(model):
        yield Peers()
        return
    with _group() as group:
        peers = Peers(dist.get_rank(), dist.get_world_size(), group)
        try:
            yield peers
        except Exception as error:
            peers.tell(error)
            raise


def _world() -> int:
    if not dist.is_available():
        return 1
    if dist.is_initialized():
        return dist.get_world_size()
    if not {"RANK", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys():
        return 1
    return int(os.environ.get("WORLD_SIZE", "1"))


def _spread(model: nn.Module) -> bool:
    """Whether one model lies over all processes, so that they must run as one."""
    return any(hasattr(parameter, "full_tensor") for parameter in model.parameters())


@contextmanager
def _group() -> Generator[Any]:
    """A group of our own, on the CPU; the default group too where there is none."""
    own = not dist.is_initialized()
    if own:
        from torch.distributed.distributed_c10d import PrefixStore
        from torch.distributed.rendezvous import rendezvous

        store, rank, world = next(rendezvous("env://"))
        # Addresses of an earlier ranking's group must not be met again.
        store = PrefixStore(f"surgery/{next(_RANKINGS)}", store)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=world)
    try:
        group = dist.new_group(backend="gloo", timeout=_PATIENCE)
        try:
            yield group
        finally:
            dist.destroy_process_group(group)
    finally:
        if own:
            dist.destroy_process_group()


def _other(rank: int, name: str, text: str) -> SurgeryError:
    kind = getattr(errors, name, SurgeryError)
    said = text if kind is not SurgeryError else f"{name}: {text}"
    return kind(f"rank {rank} failed: {said}")

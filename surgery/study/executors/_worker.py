"""What a worker process does: trials, one after the other, until it is told to end."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import signal
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import cast

import torch

from surgery.study.execution import Logged, Recipe, load_optimizers, run_trial
from surgery.study.executors._base import Done
from surgery.study.executors._output import moved_to
from surgery.study.trials import Outcome, Request


@dataclass(frozen=True)
class Begin:
    """What all trials have in common, pickled.

    Attributes:
        recipe: The recipe.
        answers: Whether trials wait for what the driver says to what they log.
    """

    recipe: bytes
    answers: bool


@dataclass(frozen=True)
class Task:
    """A trial to run."""

    request: Request
    one_step: bool = False


@dataclass(frozen=True)
class Ready:
    """The worker has started."""


@dataclass(frozen=True)
class Broken:
    """The worker cannot do anything, and why."""

    why: str


def work(pipe: Connection, device: str, threads: int) -> None:
    """The whole life of a worker: it is told of the study when that is known."""
    # An interrupt from the keyboard goes to all processes; the driver ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_driver, daemon=True).start()
    torch.set_num_threads(max(1, min(threads, torch.get_num_threads())))
    load_optimizers()
    try:
        begin = cast(Begin, pipe.recv())
        try:
            known = cast(Recipe, pickle.loads(begin.recipe))  # from our own driver
        except Exception as error:
            pipe.send(Broken(f"{type(error).__name__}: {error}"))
            return
        pipe.send(Ready())
        while True:
            task = cast(Task, pipe.recv())
            outcome = _done(pipe, known, task, device, begin.answers)
            pipe.send(Done(task.request.id, outcome))
            if outcome.failure == "memory":
                return  # a fresh process has all of its memory
            gc.collect()
            if torch.cuda.is_initialized():
                torch.cuda.empty_cache()
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the driver is gone


def _done(
    pipe: Connection, recipe: Recipe, task: Task, device: str, answers: bool
) -> Outcome:
    def tell(logged: Logged) -> str:
        pipe.send(logged)
        return cast(str, pipe.recv()) if answers else ""

    with moved_to(recipe.log_path(task.request.id)):
        return run_trial(recipe, task.request, tell, device, one_step=task.one_step)


def _end_with_driver() -> None:
    """Ends this process as soon as its driver is gone, whatever it is doing."""
    driver = multiprocessing.parent_process()
    if driver is not None:
        driver.join()
        os._exit(1)

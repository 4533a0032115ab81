"""LocalProcesses: several trials at once, each worker a process of this machine."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, final

from surgery.errors import StudyError
from surgery.study.execution import Listener, Logged, Recipe
from surgery.study.executors._base import AbstractExecutor, Done
from surgery.study.executors._inline import default_devices
from surgery.study.executors._slots import slots
from surgery.study.executors._worker import Begin, Broken, Ready, Task, work
from surgery.study.trials import Outcome, Request, State

_PATIENCE = 2.0  # seconds that a worker is given to end by itself


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    device: str
    ready: bool = False
    trial: str = ""


@final
class LocalProcesses(AbstractExecutor):
    """Workers of this machine, started afresh (spawn), so that nothing is shared.

    Each has `cores // workers` threads of torch, and one of the devices in turn: of
    two GPUs and four workers, each GPU has two, or as many as its memory has room for.
    What is given to the study must be importable: functions at the top level of a
    file, not lambdas.

    Args:
        workers: How many at most.
        devices: Where they train, in turn; by default all GPUs, else the CPU.
        threads: Threads of torch in each; by default `cores // workers`.
        memory: Bytes of a GPU that a trial may need: a GPU has no more workers than
            fit into what is free of it when the study starts.
    """

    name = "local processes"

    def __init__(
        self,
        workers: int,
        *,
        devices: Sequence[str] | None = None,
        threads: int | None = None,
        memory: int | None = None,
    ) -> None:
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
            raise StudyError(f"workers must be a number of processes, got {workers!r}")
        self._devices = list(devices or default_devices())
        self._slots = slots(self._devices, workers, memory)
        self._threads = threads or max(1, cores() // len(self._slots))
        self._workers: list[_Worker] = []
        self._begin: Begin | None = None
        self._listener: Listener | None = None
        self._stillborn = 0

    @property
    def capacity(self) -> int:
        return len(self._slots)

    def warm_up(self) -> None:
        _require_importable_main()
        while len(self._workers) < min(self.capacity, cores()):
            self._started()

    def open(self, recipe: Recipe, listener: Listener, *, answers: bool) -> None:
        _require_importable_main()
        try:
            self._begin = Begin(pickle.dumps(recipe), answers)
        except Exception as error:
            raise StudyError(
                f"the study cannot be sent to worker processes ({error}): define its "
                "functions at the top level of a file, not as lambdas "
                "or inside functions, or run it with workers=1"
            ) from error
        self._listener = listener
        for worker in self._workers:
            _send(worker.pipe, self._begin)

    def submit(self, request: Request, *, one_step: bool = False) -> None:
        free = next((w for w in self._workers if not w.trial), None)
        if free is None:
            free = self._started()
        free.trial = request.id
        _send(free.pipe, Task(request, one_step))

    def wait(self, timeout: float) -> Sequence[Done]:
        done: list[Done] = []
        until = time.monotonic() + timeout
        while not done and any(worker.trial for worker in self._workers):
            left = max(0.0, until - time.monotonic())
            watched: list[Any] = [w.pipe for w in self._workers]
            watched += [w.process.sentinel for w in self._workers]
            found = wait(watched, left)
            # Whatever a dead worker has left running holds its pipe and its sentinel
            # open: they alone would never tell.
            ended = [w for w in self._workers if not w.process.is_alive()]
            if not found and not ended:
                break
            for worker in list(self._workers):
                told = worker.pipe in found or worker.process.sentinel in found
                if told or worker in ended:
                    done += self._heard(worker)
        return done

    def close(self) -> None:
        workers, self._workers, self._begin = self._workers, [], None
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            worker.process.join(_PATIENCE)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.pipe.close()

    def _heard(self, worker: _Worker) -> list[Done]:
        """What a worker says, all of it; its end, if it has ended."""
        done: list[Done] = []
        try:
            while worker.pipe.poll():
                done += self._message(worker, worker.pipe.recv())
        except (EOFError, OSError, pickle.UnpicklingError):
            worker.process.join(_PATIENCE)
            worker.process.kill()
            worker.process.join()
        if worker.process.is_alive():
            return done
        done += self._buried(worker)
        return done

    def _message(self, worker: _Worker, message: object) -> list[Done]:
        match message:
            case Ready():
                worker.ready, self._stillborn = True, 0
            case Broken():
                raise StudyError(
                    f"a worker process cannot run this study: {message.why}; what "
                    "it is given must be importable from a file"
                )
            case Logged():
                assert self._listener is not None
                assert self._begin is not None
                answer = self._listener(message)
                if self._begin.answers:
                    worker.pipe.send(answer)
            case Done():
                worker.trial = ""
                return [message]
            case _:
                raise AssertionError(message)
        return []

    def _buried(self, worker: _Worker) -> list[Done]:
        self._workers.remove(worker)
        worker.pipe.close()
        code = worker.process.exitcode
        if not worker.ready:
            self._stillborn += 1
            if self._stillborn > 2:
                raise StudyError(
                    f"worker processes end before they start (exit code {code}); what "
                    "they wrote is above. Does the file that is run import cleanly, "
                    "with study.run() under `if __name__ == '__main__':`?"
                )
        if not worker.trial:
            return []
        lost = Outcome(
            State.FAILED,
            failure="lost",
            message=f"its worker process ended ({_ending(code)})",
        )
        return [Done(worker.trial, lost)]

    def _started(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        device = self._free_slot()
        process = context.Process(
            target=work,
            args=(theirs, device, self._threads),
            name=f"surgery worker on {device}",
            daemon=False,  # daemons may have no children, which DataLoaders need
        )
        process.start()
        theirs.close()
        if self._begin is not None:
            _send(ours, self._begin)
        worker = _Worker(process, ours, device)
        self._workers.append(worker)
        return worker

    def _free_slot(self) -> str:
        """The device of a slot that no worker has."""
        left = list(self._slots)
        for worker in self._workers:
            left.remove(worker.device)
        return left[0]


def _send(pipe: Connection, message: object) -> None:
    """Tell a worker; of one that is dead `wait` finds out, and what it was given."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        pipe.send(message)


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"killed by signal {-code}"
    return f"exit code {code}"


def _require_importable_main() -> None:
    """Raise in a worker that imports the file which is run, and runs it thereby."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise StudyError(
            "study.run(workers=...) was called while a worker process was importing "
            "the file: put it under `if __name__ == '__main__':`"
        )

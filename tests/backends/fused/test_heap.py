"""What the process grows by is looked at now and then, and given back in time."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from torch import nn

from surgery_backends.fused._heap import Heap, heap_within
from surgery_backends.fused._tape import Tape

BUDGET = 1600  # memory is given back beyond 1200, looked at after every 100


@dataclass
class System:
    """A process of which `used` bytes are in use, and `free` kept for later."""

    used: int = 10_000
    free: int = 0
    looks: int = 0
    given_back: list[int] = field(default_factory=list[int])

    def resident(self) -> int:
        self.looks += 1
        return self.used + self.free

    def give_back(self) -> None:
        self.given_back.append(self.free)
        self.free = 0


def heap_of(system: System) -> Heap:
    heap = Heap(BUDGET, system.resident, system.give_back)
    heap.begin()
    return heap


def test_memory_is_given_back_before_the_budget_is_exceeded() -> None:
    system = System()
    heap = heap_of(system)
    for _ in range(50):  # values of which nothing is used again
        system.free += 100
        heap.took(100)
        assert system.used + system.free <= 10_000 + BUDGET
    assert system.given_back == [1300, 1300, 1300]


def test_it_is_not_looked_at_for_every_value() -> None:
    system = System()
    heap = heap_of(system)
    looks = system.looks
    for _ in range(1000):
        heap.took(1)
    assert system.looks - looks == 10
    assert not system.given_back


def test_what_is_in_use_is_not_tried_again_and_again() -> None:
    system = System(free=0)
    heap = heap_of(system)
    system.used += 1500  # somebody else's, while the program runs
    for _ in range(20):
        heap.took(100)
    assert system.given_back == [0]


def test_what_others_took_meanwhile_is_not_of_the_budget() -> None:
    system = System()
    heap = heap_of(system)
    system.used += 5000  # a data set in memory
    heap.begin()
    assert system.given_back == [0]
    system.free += 1100
    heap.took(1100)
    assert system.given_back == [0]


def test_what_an_earlier_program_left_is_given_back_first() -> None:
    system = System()
    heap = heap_of(system)
    system.free += 1300
    heap.begin()
    assert system.given_back == [1300]


def test_a_tape_tells_of_new_memory_and_not_of_views() -> None:
    tape = Tape()
    x = tape.placeholder()
    y = tape.call(torch.Tensor.add, (x, 1), size=800)
    tape.call(torch.Tensor.view, (y, -1))
    tape.close()
    system = System()
    heap = Heap(BUDGET, system.resident, system.give_back)
    tape.run([torch.zeros(200)], heap)
    assert system.looks == 2  # at the beginning, and after the sum


def test_what_the_system_has_is_seen_and_given_back() -> None:
    heap = heap_within(2**20, nn.Linear(2, 2))
    if heap is None:
        pytest.skip("the system does not tell, or its C library cannot")
    heap.begin()
    kept = torch.zeros(2**22)
    heap.took(kept.nbytes)
    assert kept.sum() == 0


def test_a_budget_of_another_memory_is_not_the_heaps() -> None:
    assert heap_within(2**20, nn.Linear(2, 2, device="meta")) is None

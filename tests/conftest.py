"""What every test runs under: one thread, no network, a GPU only where it has one."""

import os

import pytest

# Before transformers and timm are imported: a test that needs the network fails at
# once instead of waiting for it.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from hypothesis import settings

# How long an example takes is the machine's matter.
settings.register_profile("surgery", deadline=None)
settings.load_profile("surgery")


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Small tensors on shared cores are slower on many threads than on one."""
    torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs an accelerator"))

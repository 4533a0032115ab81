"""Guard: whether a model is as it was, at a glance or in full.

At a glance: the same tensors, none written to (torch counts writes), same flags,
attributes, hooks and keys. In full: every bit of every tensor, by digest (copies of the
largest models would not fit in memory), the outputs, and the global generators.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.conformance.state import generators, look, same_bits

_HOOKS = tuple(name for name in nn.Module().__dict__ if name.endswith("_hooks"))


class Guard:
    """A model as it was, to compare with.

    Args:
        model: The model.
        run: One forward of it; every tensor that comes out.
    """

    def __init__(self, model: nn.Module, run: Callable[[], list[Tensor]]) -> None:
        self._model, self._run = model, run
        self.output = [x.clone() for x in run()]
        self._tensors, self._modules = look(model)
        self._seen = [(m, _quick(m)) for m in model.modules()]
        self._versions = {n: x._version for n, x in self._tensors.items()}
        self._digests = {n: digest(x) for n, x in self._tensors.items()}
        self._keys = list(model.state_dict())
        self._random = generators()

    def glance(self) -> list[str]:
        """What is not as it was, in words, as far as is cheap to see."""
        written = [
            n for n, v in self._versions.items() if self._tensors[n]._version != v
        ]
        if not written and all(_quick(module) == seen for module, seen in self._seen):
            return []
        tensors, modules = look(self._model)
        faults: list[str] = []
        if modules != self._modules:
            faults += [
                f"flags, attributes or hooks of {name or 'the model'}"
                for name in {**modules, **self._modules}
                if modules.get(name) != self._modules.get(name)
            ]
        for name in {**tensors, **self._tensors}:
            tensor = tensors.get(name)
            if tensor is not self._tensors.get(name):
                faults.append(f"{name} is another tensor")
            elif tensor is not None and tensor._version != self._versions[name]:
                faults.append(f"{name} was written to")
        return [f"not restored: {fault}" for fault in faults[:3]]

    def full(self) -> list[str]:
        """What is not as it was, in words: bits, outputs and generators as well."""
        faults = self.glance()
        if list(self._model.state_dict()) != self._keys:
            faults.append("not restored: keys of state_dict")
        now = generators()
        faults += [
            f"the global generator of {name} moved"
            for name, state in self._random.items()
            if state != now[name]
        ]
        self._random = now
        if not same_outputs(self._run(), self.output):
            faults.append("the restored model's outputs differ")
        tensors, _ = look(self._model)
        changed = [n for n, d in self._digests.items() if digest(tensors[n]) != d]
        return faults + [f"not restored: the bits of {name}" for name in changed[:3]]


def _quick(module: nn.Module) -> list[object]:
    """What tells that a module is as it was; whether it is to be compared."""
    content: dict[str, Any] = module.__dict__
    found: list[object] = [module.training, *content]
    for table in ("_parameters", "_buffers"):
        for tensor in content[table].values():
            found += (id(tensor), tensor is not None and tensor.requires_grad)
            found.append(tensor is None or tensor.grad is None)
    found += map(id, content["_modules"].values())
    found += [tuple(content[name]) for name in _HOOKS if content[name]]
    return found


def digest(x: Tensor) -> bytes:
    """A digest of type, shape and every bit."""
    flat = x.detach().contiguous().flatten()
    content = flat.view(torch.uint8) if flat.numel() else flat
    found = hashlib.sha256(f"{x.dtype} {tuple(x.shape)}".encode())
    found.update(content.numpy().data)
    return found.digest()


def same_outputs(a: list[Tensor], b: list[Tensor]) -> bool:
    """Whether two lists of tensors agree in every bit."""
    return len(a) == len(b) and all(map(same_bits, a, b))

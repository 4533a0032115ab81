"""Names: every name of every module and parameter of one model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import nn


class Names:
    """Every name of every module and parameter of one model.

    A module reached by several names has the first one in `named_modules()` order
    as its canonical path, and the others as aliases; parameters likewise.

    Attributes:
        modules: Modules by canonical path, the whole model (`""`) included.
        paths: Canonical path of every name of a module.
        parameters: Parameters by canonical name.
        parameter_names: Canonical name of every name of a parameter.
    """

    def __init__(self, model: nn.Module) -> None:
        self.modules: dict[str, nn.Module] = dict(model.named_modules())
        self._path = {id(module): path for path, module in self.modules.items()}
        self.paths: dict[str, str] = {
            name: self._path[id(module)]
            for name, module in model.named_modules(remove_duplicate=False)
        }
        self.parameters: dict[str, nn.Parameter] = dict(model.named_parameters())
        first = {id(tensor): name for name, tensor in self.parameters.items()}
        self.parameter_names: dict[str, str] = {
            name: first[id(tensor)]
            for name, tensor in model.named_parameters(remove_duplicate=False)
        }
        self._order = {path: i for i, path in enumerate(self.modules)}

    @property
    def model(self) -> nn.Module:
        return self.modules[""]

    def in_order(self, paths: Iterable[str]) -> list[str]:
        """Canonical paths without repetition, in `named_modules()` order."""
        return sorted(set(paths), key=self._order.__getitem__)

    def position(self, path: str) -> int:
        return self._order[path]

    def children(self, path: str) -> Iterator[str]:
        """Canonical paths of the modules directly inside one."""
        for child in self.modules[path].children():
            yield self._path[id(child)]

    def contents(self, path: str) -> list[str]:
        """Last segments of what a user can write after a module's path and a dot."""
        module = self.modules[path]
        return [
            *(name for name, _ in module.named_children()),
            *(name for name, _ in module.named_parameters(recurse=False)),
        ]

    def aliases(self, path: str) -> list[str]:
        """All names of a module, its canonical path among them."""
        return [name for name, canonical in self.paths.items() if canonical == path]

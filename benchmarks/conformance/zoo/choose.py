"""`python -m benchmarks.conformance.zoo.choose`: the smallest model of every family.

Builds every model of timm on the meta device, where weights take no memory, and
writes one line for each entry-point module: module, its smallest model, parameters.
timm's own `test_*` models belong to no family and are left out.
"""

from __future__ import annotations

import warnings
from pathlib import Path

FILE = Path(__file__).with_name("timm.txt")


def main() -> None:
    """Choose anew, and write `timm.txt`."""
    from timm.models import list_modules

    lines: list[str] = []
    for family in sorted(list_modules()):
        parameters, name = smallest(family)
        lines.append(f"{family} {name} {parameters}")
        print(lines[-1], flush=True)
    FILE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def smallest(family: str) -> tuple[int, str]:
    """Parameters and name of a family's smallest model, the first of equals."""
    from timm import list_models

    names = [n for n in list_models(module=family) if not n.startswith("test_")]
    return min((parameters_of(name), name) for name in names)


def parameters_of(name: str) -> int:
    """How many parameters a model of timm has."""
    import torch
    from timm import create_model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with torch.device("meta"):
                model = create_model(name)
        except (NotImplementedError, RuntimeError):  # reads values while it is built
            model = create_model(name)
    return sum(parameter.numel() for parameter in model.parameters())


def chosen() -> dict[str, str]:
    """The smallest model of each family, by family."""
    lines = FILE.read_text(encoding="utf-8").splitlines()
    return {family: name for family, name, _ in map(str.split, lines)}


if __name__ == "__main__":
    main()

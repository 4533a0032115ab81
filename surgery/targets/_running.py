"""What a module stands for: itself if it runs, a container for what is in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import nn

from surgery.anatomy._record import Record
from surgery.anatomy._wrappers import is_scripted
from surgery.errors import NoEffectError, TargetError
from surgery.targets._names import Names
from surgery.targets._target import Target


def expand(
    names: Names,
    paths: Iterable[str],
    text: str,
    record: Record | None,
    called_only: bool,
) -> list[str]:
    """Each module, or in a container's place the nearest modules in it that run.

    With `called_only` what never runs is left out, and it is an error if that is
    everything; without it only containers that hold no parameters of their own are
    expanded, so that what is returned holds every parameter that `paths` hold.
    """
    kept: list[str] = []
    dead: list[str] = []
    for path in paths:
        found = _runners(names, path, record, called_only)
        (kept if found else dead).extend(found or [path])
    if not kept:
        # Seen to run without it: an operation there would have no effect.
        error = TargetError if record is None else NoEffectError
        raise error(never_runs(names, dead, text, record))
    return names.in_order(kept)


def require_running(
    names: Names, paths: Sequence[str], target: Target, record: Record | None
) -> list[str]:
    """Those modules that run; containers are not expanded: their code never runs.

    Raises:
        TargetError: All of them are containers, or there is no record.
        NoEffectError: None of them was seen to run.
    """
    running = [path for path in paths if not path or runs(names, path, record)]
    if running:
        return running
    path, text = paths[0], str(target)
    if len(paths) == 1 and _holds_what_runs(names, path, record):
        raise TargetError(
            f"'{text}': {path!r} is a container whose own code never runs; name what "
            f"is in it: '{path}.*{text[len(str(target.where)) :]}'"
        )
    error = TargetError if record is None else NoEffectError
    raise error(never_runs(names, list(paths), text, record))


def _holds_what_runs(names: Names, path: str, record: Record | None) -> bool:
    return any(
        runs(names, child, record) or _holds_what_runs(names, child, record)
        for child in names.children(path)
    )


def _runners(
    names: Names, path: str, record: Record | None, called_only: bool
) -> list[str]:
    if not called_only:
        return _with_all_parameters(names, path)
    if runs(names, path, record):
        return [path]
    found: list[str] = []
    for child in names.children(path):
        found += _runners(names, child, record, called_only)
    return found


def _with_all_parameters(names: Names, path: str) -> list[str]:
    module = names.modules[path]
    children = list(names.children(path))
    if _has_forward(module) or not children or any(True for _ in _own(module)):
        return [path]
    return [found for c in children for found in _with_all_parameters(names, c)]


def runs(names: Names, path: str, record: Record | None) -> bool:
    if record is None:
        return _has_forward(names.modules[path])
    facts = record.facts.get(path)
    return facts is not None and facts.calls > 0


def _has_forward(module: nn.Module) -> bool:
    if is_scripted(module):  # the class of a traced module does not say
        return True
    return "forward" in vars(module) or type(module).forward is not nn.Module.forward


def _own(module: nn.Module) -> Iterable[nn.Parameter]:
    return module.parameters(recurse=False)


def never_runs(names: Names, dead: list[str], text: str, record: Record | None) -> str:
    if len(dead) > 1:
        return (
            f"{text!r}: none of the {len(dead)} modules that match ever runs in this "
            f"forward, {dead[0]!r} for one. surgery.components(model, x) lists what "
            "runs."
        )
    path = dead[0]
    if is_scripted(names.modules[path]):
        return (
            f"{text!r}: {path!r} is compiled by TorchScript, where no hook sees "
            "it run; operate on the model as it was before scripting."
        )
    parameter = next((n for n in names.parameters if n.startswith(f"{path}.")), None)
    use = f"Operate on its parameters, e.g. {parameter!r}" if parameter else ""
    if record is None:
        said = f"{text!r}: {path!r} is a container that holds no module that could run."
        return f"{said} {use}." if use else said
    if path not in record.bypassed:
        return (
            f"{text!r}: {path!r} never runs in this forward. "
            "surgery.components(model, x) lists what runs."
        )
    parent = path.rpartition(".")[0]
    owner = f"its parent {parent!r}" if parent else "the model"
    instead = f", or on {parent!r}" if parent else ""
    return (
        f"{text!r}: {path!r} never runs in this forward: {owner} uses its "
        f"parameters without calling it. {use or 'Operate on the parent'}{instead}."
    )


def called_often(
    paths: Sequence[str], target: Target, call: int, record: Record | None
) -> list[str]:
    """Those called more than `call` times; without a record nobody knows: all."""
    if record is None:
        return list(paths)
    calls = {p: facts.calls for p in paths if (facts := record.facts.get(p))}
    kept = [path for path in paths if calls.get(path, 0) > call]
    if kept:
        return kept
    most = max(calls.values(), default=0)
    who = repr(paths[0]) if len(paths) == 1 else f"each of the {len(paths)} modules"
    times = f"{most} time{'' if most == 1 else 's'}"
    often = f"is called {'' if len(paths) == 1 else 'at most '}{times} in this forward"
    hint = f"call-sites count from @0 to @{most - 1}" if most else "it has no call-site"
    raise TargetError(f"'{target}': {who} {often}; {hint}.")

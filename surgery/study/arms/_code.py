"""A hash of the user's code: what a function, and all that it names, does.

Formatting and comments do not change it, nor does code that is installed: what is
installed has versions, which are recorded.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import sys
import sysconfig
import textwrap
from collections.abc import Iterator, Mapping
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, cast

_PLAIN = (bool, int, float, complex, str, bytes, type(None))


def code_hash(thing: object) -> str:
    """The same for equal code in every process; another one if it changed."""
    seen: dict[int, str] = {}
    parts = sorted(set(_texts(thing, seen)))
    return hashlib.sha256("\x1e".join(parts).encode()).hexdigest()[:16]


def _texts(thing: Any, seen: dict[int, str]) -> Iterator[str]:
    if id(thing) in seen:
        return
    seen[id(thing)] = ""
    if isinstance(thing, functools.partial):
        yield from _texts(thing.func, seen)
        yield repr(thing.args) + repr(sorted(thing.keywords.items()))
    elif isinstance(thing, MethodType):
        yield from _texts(thing.__func__, seen)
        yield from _texts(type(thing.__self__), seen)
    elif isinstance(thing, FunctionType):
        if _is_users(thing.__module__):
            yield _source(thing)
            yield from _named(thing, seen)
        else:
            yield f"{thing.__module__}.{thing.__qualname__}"
    elif isinstance(thing, type):
        yield from _class(thing, seen)
    elif isinstance(thing, ModuleType):
        yield thing.__name__
    elif callable(thing):
        yield from _class(type(thing), seen)
        yield from _attributes(thing)
    else:
        yield f"{type(thing).__module__}.{type(thing).__qualname__}"


def _class(cls: type[Any], seen: dict[int, str]) -> Iterator[str]:
    if not _is_users(cls.__module__):
        yield f"{cls.__module__}.{cls.__qualname__}"
        return
    yield _source(cls)
    for base in cls.__bases__:
        yield from _texts(base, seen)
    for value in vars(cls).values():
        function = inspect.unwrap(value) if callable(value) else value
        function = getattr(function, "__func__", function)
        if isinstance(function, FunctionType):
            yield from _named(function, seen)


def _named(function: FunctionType, seen: dict[int, str]) -> Iterator[str]:
    """What the function's code names: globals, closures, defaults."""
    names = set(_names(function.__code__))
    for name in sorted(names):
        if name in function.__globals__:
            yield from _value(name, function.__globals__[name], names, seen)
    closure = function.__closure__ or ()
    for name, cell in zip(function.__code__.co_freevars, closure, strict=True):
        try:
            content = cell.cell_contents
        except ValueError:  # not filled yet
            continue
        yield from _value(name, content, names, seen)
    defaults = cast("tuple[object, ...]", function.__defaults__ or ())
    for value in (*defaults, *(function.__kwdefaults__ or {}).values()):
        if not isinstance(value, _PLAIN):  # the plain ones are in the source
            yield from _value("default", value, names, seen)


def _value(
    name: str, value: Any, names: set[str], seen: dict[int, str]
) -> Iterator[str]:
    if isinstance(value, _PLAIN):
        yield f"{name}={value!r}"
    elif isinstance(value, list | tuple | set | frozenset):
        yield f"{name}={_contents(value)}"
    elif isinstance(value, Mapping):
        yield f"{name}={_contents(list(value.items()))}"
    elif isinstance(value, ModuleType):
        if _is_users(value.__name__):
            for attribute in sorted(names & set(vars(value))):
                yield from _value(
                    f"{name}.{attribute}", vars(value)[attribute], names, seen
                )
    elif isinstance(value, type | FunctionType | MethodType | functools.partial):
        yield from _texts(value, seen)


def _contents(values: Any) -> str:
    """Plain values as they are; what else there is by its type, without addresses."""
    if isinstance(values, _PLAIN):
        return repr(values)
    if isinstance(values, list | tuple):
        items = cast("list[Any]", values)
        return f"[{', '.join(map(_contents, items))}]"
    if isinstance(values, set | frozenset):
        return f"{{{', '.join(sorted(map(_contents, cast('set[Any]', values))))}}}"
    return type(values).__qualname__


def _attributes(thing: object) -> Iterator[str]:
    for name, value in sorted(getattr(thing, "__dict__", {}).items()):
        if isinstance(value, _PLAIN):
            yield f"{name}={value!r}"


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _source(thing: Any) -> str:
    """The source without comments and formatting; without it, the compiled code."""
    try:
        source = textwrap.dedent(inspect.getsource(thing))
    except (OSError, TypeError):
        code = getattr(thing, "__code__", None)
        return thing.__qualname__ if code is None else _compiled(code)
    try:
        return ast.unparse(ast.parse(source))
    except SyntaxError:  # a lambda, cut out of the middle of its line
        return source.strip()


def _compiled(code: CodeType) -> str:
    constants = [
        _compiled(one) if isinstance(one, CodeType) else repr(one)
        for one in code.co_consts
    ]
    return f"{code.co_code.hex()} {constants} {code.co_names}"


@functools.lru_cache
def _is_users(module: str | None) -> bool:
    """Whether it is neither Python's nor installed."""
    top = (module or "").partition(".")[0]
    if top in sys.stdlib_module_names and top != "__main__":
        return False
    file = getattr(sys.modules.get(module or ""), "__file__", None)
    if file is None:
        return True  # typed in, or run from a string
    installed = {sysconfig.get_path(key) for key in ("purelib", "platlib")}
    return top != "surgery" and not any(file.startswith(path) for path in installed)

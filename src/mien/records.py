"""Conversion of plain records (parsed TOML or JSON) to typed dataclasses."""

from __future__ import annotations

import dataclasses
import difflib
import threading
from collections.abc import Iterable
from typing import Any, TypeVar, get_args, get_type_hints

import msgspec

T = TypeVar("T")

_convert_lock = threading.Lock()
"""msgspec 0.22 crashes when two threads convert to a type for the first time at once."""


def convert(value: object, kind: type[T], **options: Any) -> T:
    """Convert with `msgspec.convert`, safely in several threads."""
    with _convert_lock:
        return msgspec.convert(value, kind, **options)


def convert_record(record: object, kind: type[T], *, where: str = "", error: type[Exception]) -> T:
    """Convert nested plain values to a dataclass without coercion; an int is accepted for a float.

    Use `dataclasses.asdict` for the values of the result: `vars` lacks fields that have their default value.

    Args:
        record: mappings, lists and scalars as `tomllib` or `json` return them.
        kind: a dataclass; its fields may be dataclasses, or tuples of them.
        where: dotted path of the record, the prefix of every key in messages.
        error: exception class to raise.

    Raises:
        Exception: of class `error`, on an unknown key, a missing key or a value of another type. The message names the
            path of the key and the expected type or the nearest known key. An `error` raised by a `__post_init__` is
            passed on as it is.
    """
    _check_keys(record, kind, where, error)
    try:
        return convert(record, kind)
    except msgspec.ValidationError as problem:
        if isinstance(problem.__cause__, error):
            raise problem.__cause__ from None
        raise error(_describe(str(problem), where)) from None


def unknown_key(key: str, known: Iterable[str], where: str = "", *, noun: str = "key") -> str:
    """Return the message for an unknown key, with the nearest known one; `noun` is what it is called."""
    known = list(known)
    nearest = difflib.get_close_matches(key, known, n=1)
    if nearest:
        return f"unknown {noun} {_join(where, key)}. Did you mean {_join(where, nearest[0])}?"
    return f"unknown {noun} {_join(where, key)}. Known: {', '.join(known)}."


def _check_keys(value: object, kind: Any, where: str, error: type[Exception]) -> None:
    """Raise on a key that a dataclass anywhere in `kind` does not have; msgspec would ignore it."""
    if isinstance(value, list | tuple):
        for number, item in enumerate(value):
            for argument in get_args(kind):
                _check_keys(item, argument, f"{where}[{number}]", error)
    elif isinstance(value, dict) and dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        for key, item in value.items():
            if key not in hints:
                raise error(unknown_key(key, hints, where))
            _check_keys(item, hints[key], _join(where, key), error)
    elif isinstance(value, dict):
        for argument in get_args(kind):
            _check_keys(value, argument, where, error)


def _describe(message: str, where: str) -> str:
    """Return msgspec's message with the path of the key in front: `training.epochs: expected float, got str`."""
    text, _, path = message.partition(" - at `$")
    text = text.replace("Object missing required field", "missing key").replace("Expected", "expected")
    text = text.replace("`array`", "list").replace("object", "mapping").replace("`", "")
    place = _join(where, path.rstrip("`").removeprefix("."))
    return f"{place}: {text}." if place else f"{text}."


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where and key and not key.startswith("[") else where + key

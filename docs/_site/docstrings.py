"""Griffe extension: values of constants in signatures, and examples as code."""

from __future__ import annotations

import pydoc
import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"^Example:$", re.MULTILINE)


class ReadableDocstrings(griffe.Extension):
    """Show the value of a default, not the name of its constant, and examples as code without doctest flags."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Replace constants among the defaults of a function, and name the examples as griffe expects."""
        if obj.docstring is not None:
            # griffe renders only a section of this name as code, and deletes its flags
            obj.docstring.value = EXAMPLE.sub("Examples:", obj.docstring.value)
        if isinstance(obj, griffe.Function):
            for parameter in obj.parameters:
                if isinstance(parameter.default, griffe.ExprName):
                    value = pydoc.locate(parameter.default.canonical_path)
                    if isinstance(value, int | float | str):
                        parameter.default = repr(value)

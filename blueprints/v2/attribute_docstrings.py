"""The texts below the attributes of classes, read from the source when a document is made: at every start of the server, as
pydantic does it, that takes too long."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import pairwise


def docstrings_of(cls: type) -> Mapping[str, str]:
    """The text below each attribute of a class and of those that it is made from, by the attribute's name."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__[:-1]):
        found |= _of_module(base.__module__).get(base.__qualname__, {})
    return found


@lru_cache(maxsize=64)
def _of_module(name: str) -> Mapping[str, Mapping[str, str]]:
    """The same of each class on the top level of a module that has been imported."""
    tree = ast.parse(inspect.getsource(sys.modules[name]))
    return {node.name: dict(_texts(node.body)) for node in tree.body if isinstance(node, ast.ClassDef)}


def _texts(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    """The name of each attribute that has a type and a text behind it, and the text."""
    for attribute, text in pairwise(body):
        match attribute, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(said))):
                yield name, inspect.cleandoc(said)

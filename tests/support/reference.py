"""What the API reference of a built site has, and what it should have."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any

from sphinx.util.inventory import InventoryFile

from support.pages import ROOT

API = ROOT / "docs" / "api"


def resolve(name: str) -> Any:
    """Return what a dotted name stands for, None where there is no such thing."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            module: Any = importlib.import_module(".".join(parts[:count]))
        except ImportError:
            continue
        found = reduce(lambda thing, part: getattr(thing, part, None), parts[count:], module)
        return getattr(found, "__func__", found)  # of a class method there is a new one each time
    return None


class Reference:
    """What the reference of a built site has."""

    def __init__(self, inventory: Path) -> None:
        listed = InventoryFile.loads(inventory.read_bytes(), uri="")
        self.names = {
            name for kind in listed.data if kind.startswith("py:") for name in listed.data[kind]}
        self.modules = set(listed.data["py:module"])
        # A thing may go by several names; text and numbers are not told apart by what they are.
        self._things = {
            id(thing): thing for thing in map(resolve, self.names)
            if thing is not None and not isinstance(thing, str | int)}

    def has(self, name: str) -> bool:
        """Tell whether a name is in it, or another name of the same thing."""
        return name in self.names or id(resolve(name)) in self._things


def imported_names(text: str) -> Iterator[str]:
    """Yield what a program imports from the engine, by full name."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "engine":
            for each in node.names:
                yield f"{node.module}.{each.name}"


def public_modules() -> list[ModuleType]:
    """The modules that pages of the reference are about."""
    pages = "\n".join(path.read_text("utf-8") for path in API.glob("*.md"))
    names = set(re.findall(r"auto\w+:: (engine[.\w]*)", pages))
    found = {name for name in names if isinstance(resolve(name), ModuleType)}
    parents = {name.rpartition(".")[0] for name in names - found}
    return [importlib.import_module(name) for name in sorted(found | parents)
            if isinstance(resolve(name), ModuleType)]

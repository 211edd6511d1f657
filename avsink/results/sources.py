"""The source code that a number depends on: an instrument's module, and all that it imports from this package.

1. `closure`: follow the imports of the modules given, at any depth, those inside functions too. Importing a module also
   runs the ``__init__`` of the packages around it; of these only the imports at module level are followed. The façade
   ``avsink/__init__.py`` only passes names on and is left out.
2. A string constant that is the name of a module counts as an import, since registries load modules by name.
3. `fingerprint`: a hash of the syntax trees, without docstrings. Comments, layout and docstrings do not count.

Nobody lists files by hand, so none can be forgotten.
"""

from __future__ import annotations

import ast
import hashlib
import re
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from avsink import resources

__all__ = ["attributes", "closure", "fingerprint"]

PACKAGE = "avsink"
MODULE = re.compile(rf"{PACKAGE}(\.\w+)+", re.ASCII)


def closure(modules: Iterable[str], *, root: Path | None = None) -> dict[str, Path]:
    """Dotted names and files of `modules` and of everything in the package that they import.

    Args:
        modules: dotted names. One outside the package counts with its own code, and with what it imports from here.
        root: the folder that holds the package; by default this installation's.
    """
    root = root or resources.PACKAGE.parent
    found: dict[str, Path] = {}
    waiting = [(name, True) for name in modules]
    loaded = {name: getattr(sys.modules.get(name), "__file__", None) for name, _ in waiting}
    outside = {name: Path(path) for name, path in loaded.items() if path and name.split(".")[0] != PACKAGE}
    followed: set[tuple[str, bool]] = set()
    while waiting:
        name, entirely = waiting.pop()
        path = _file(name, root) or outside.get(name)
        if path is None or name == PACKAGE or (name, entirely) in followed or (name, True) in followed:
            continue
        followed.add((name, entirely))
        found[name] = path
        waiting += [(package, False) for package in _packages(name)]
        waiting += [(other, True) for other in _imports(path, name, root, entirely=entirely)]
    return dict(sorted(found.items()))


def fingerprint(modules: Iterable[str], *, root: Path | None = None) -> str:
    """A hash of the code of the `closure` of these modules, 16 hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=8)
    for name, path in closure(modules, root=root).items():
        digest.update(f"{name}\0{_code(path, *_version(path))}\0".encode())
    return digest.hexdigest()


def attributes(modules: Iterable[str], *, without: str = "", root: Path | None = None) -> frozenset[str]:
    """The names of all attributes that the code of the `closure` reads, such as ``sink_tau``; one module left aside."""
    found = closure(modules, root=root)
    return frozenset().union(*(_attributes(path, *_version(path)) for name, path in found.items() if name != without))


def _file(name: str, root: Path) -> Path | None:
    place = root.joinpath(*name.split("."))
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)


def _packages(name: str) -> Iterator[str]:
    """The packages around a module, of which Python runs the ``__init__`` first."""
    parts = name.split(".")[:-1]
    return (".".join(parts[:n]) for n in range(1, len(parts) + 1))


def _imports(path: Path, name: str, root: Path, *, entirely: bool) -> Iterator[str]:
    tree = _tree(path, *_version(path))
    for node in ast.walk(tree) if entirely else tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = name if path.name == "__init__.py" else name.rpartition(".")[0]
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            names = [f"{module}.{alias.name}" for alias in node.names]
            submodules = [name for name in names if _file(name, root)]
            yield from submodules if len(submodules) == len(names) else [module, *submodules]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and MODULE.fullmatch(node.value):
            yield node.value


def _version(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


@cache
def _tree(path: Path, size: int, mtime_ns: int) -> ast.Module:
    """The syntax tree; size and time of change tell when to parse again."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def _code(path: Path, size: int, mtime_ns: int) -> str:
    """The tree as text, without docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node, clean=False
        ):
            node.body = node.body[1:]
    return ast.dump(tree)


@cache
def _attributes(path: Path, size: int, mtime_ns: int) -> frozenset[str]:
    return frozenset(node.attr for node in ast.walk(_tree(path, size, mtime_ns)) if isinstance(node, ast.Attribute))

"""The source code that a number depends on: an instrument's module, and all that it imports from this package.

1. `closure`: follow the imports of the modules given, at any depth, those inside functions too. Importing a module also
   runs the ``__init__`` of the packages around it; of these only the imports at module level are followed.
2. The façade ``avsink/__init__.py`` only passes names on. Who asks it for one imports the module where that is at home.
3. A string constant that is the name of a module counts as an import, since registries load modules by name.
4. Modules outside the package are followed if they are the user's own: neither the standard library nor installed.
5. `fingerprint`: a hash of the syntax trees, without docstrings. Comments, layout and docstrings do not count.
6. What counts is the code that runs. A file that was edited after Python had imported it is an error, `StaleSource`.

Nobody lists files by hand, so none can be forgotten. Not seen are globals that are changed at run time, and files that
a module opens by itself.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from types import CodeType

import psutil

from avsink import resources

__all__ = ["StaleSource", "attributes", "closure", "fingerprint"]

PACKAGE = "avsink"
HOMES = "_HOMES"  # the façade's table: module -> names
MODULE = re.compile(rf"{PACKAGE}(\.\w+)+", re.ASCII)
INSTALLED = tuple(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib"))


class StaleSource(RuntimeError):
    """A file that was edited after Python had imported it."""


def closure(modules: Iterable[str], *, root: Path | None = None) -> dict[str, Path]:
    """Dotted names and files of `modules` and of everything that they import from the package or from the user's files.

    Args:
        modules: Dotted names.
        root: The folder that holds the package; by default this installation's.
    """
    root = root or resources.PACKAGE.parent
    found: dict[str, Path] = {}
    waiting = [(name, True) for name in modules]
    followed: set[tuple[str, bool]] = set()
    while waiting:
        name, entirely = waiting.pop()
        if name == PACKAGE or (name, entirely) in followed or (name, True) in followed:
            continue
        followed.add((name, entirely))
        path = _file(name, root) if _inside(name) else _users(name)
        if path is None:
            continue
        found[name] = path
        waiting += [(package, False) for package in _packages(name)]
        waiting += [(other, True) for other in _imports(path, name, root, entirely=entirely)]
    return dict(sorted(found.items()))


def fingerprint(modules: Iterable[str], *, root: Path | None = None) -> str:
    """A hash of the code of the `closure` of these modules, 16 hexadecimal digits.

    Raises:
        StaleSource: A file of it is not the one that this process has imported.
    """
    digest = hashlib.blake2b(digest_size=8)
    for name, path in closure(modules, root=root).items():
        if root is None and path.stat().st_mtime > _started():
            _check_loaded(name, path)
        digest.update(f"{name}\0{_code(path, *_version(path))}\0".encode())
    return digest.hexdigest()


def attributes(modules: Iterable[str], *, without: str = "", root: Path | None = None) -> frozenset[str]:
    """The names of all attributes that the code of the `closure` reads, such as ``sink_tau``; one module left aside."""
    found = closure(modules, root=root)
    return frozenset().union(*(_attributes(path, *_version(path)) for name, path in found.items() if name != without))


def _inside(name: str) -> bool:
    return name.partition(".")[0] == PACKAGE


def _file(name: str, root: Path) -> Path | None:
    place = root.joinpath(*name.split("."))
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)


def _users(name: str) -> Path | None:
    """The file of a module outside the package, if it is neither the standard library's nor an installed one."""
    top = name.partition(".")[0]
    if not top or top in sys.stdlib_module_names:
        return None
    path = getattr(sys.modules.get(name), "__file__", None)
    if path is None:  # not imported yet, because its import is inside a function
        try:
            spec = importlib.util.find_spec(top)
        except (ImportError, ValueError):
            return None
        place = Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None
        path = place and _file(name, place.parent.parent if place.name == "__init__.py" else place.parent)
    if path is None or Path(path).suffix != ".py":
        return None
    return None if any(Path(path).is_relative_to(folder) for folder in INSTALLED) else Path(path)


def _packages(name: str) -> Iterator[str]:
    """The packages around a module, of which Python runs the ``__init__`` first."""
    parts = name.split(".")[:-1]
    return (".".join(parts[:n]) for n in range(1, len(parts) + 1))


def _imports(path: Path, name: str, root: Path, *, entirely: bool) -> Iterator[str]:
    tree, homes = _tree(path, *_version(path)), _homes(root)
    nodes = list(ast.walk(tree)) if entirely else tree.body
    facades = set()  # what the façade is called here
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
            facades |= {alias.asname or PACKAGE for alias in node.names if alias.name.partition(".")[0] == PACKAGE}
        elif isinstance(node, ast.ImportFrom):
            package = name if path.name == "__init__.py" else name.rpartition(".")[0]
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            names = [f"{module}.{alias.name}" for alias in node.names]
            if module == PACKAGE:
                yield from (homes.get(alias.name, f"{PACKAGE}.{alias.name}") for alias in node.names)
            elif _inside(module):
                submodules = [name for name in names if _file(name, root)]
                yield from submodules if len(submodules) == len(names) else [module, *submodules]
            else:
                yield from [module, *names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and MODULE.fullmatch(node.value):
            yield node.value
    for node in nodes if facades else ():
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in facades:
            yield homes.get(node.attr, f"{PACKAGE}.{node.attr}")


def _homes(root: Path) -> dict[str, str]:
    """Name that the façade offers -> the module where it is at home."""
    path = root / PACKAGE / "__init__.py"
    for node in _tree(path, *_version(path)).body if path.is_file() else ():
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == HOMES:
            return {name: home for home, names in ast.literal_eval(node.value).items() for name in names}
    return {}


@cache
def _started() -> float:
    return psutil.Process().create_time()


def _check_loaded(name: str, path: Path) -> None:
    """Raise `StaleSource` unless the functions and constants in memory are those of the file."""
    module = sys.modules.get(name)
    if module is None:
        return
    text = path.read_text(encoding="utf-8")
    codes = {code.co_name: code for code in compile(text, str(path), "exec").co_consts if isinstance(code, CodeType)}
    for node in ast.parse(text).body:
        same = True
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            same = all(_alike(codes[node.name], code) for code in _codes(getattr(module, node.name, None), path))
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                same = ast.literal_eval(node.value) == getattr(module, node.targets[0].id, None)
            except ValueError:  # no literal
                continue
        if not same:
            raise StaleSource(
                f"{path} was edited after Python had imported it, so the rows would be kept as those of code that did "
                "not make them; restart Python, or the notebook's kernel"
            )


def _codes(thing: object, path: Path) -> Iterator[CodeType]:
    """The code objects of a function, or of a class's methods, that come from this file."""
    methods = vars(thing).values() if isinstance(thing, type) else [thing]
    for method in methods:
        while hasattr(method, "__wrapped__"):
            method = method.__wrapped__
        method = getattr(method, "func", None) or getattr(method, "fget", None) or method
        code = getattr(getattr(method, "__func__", method), "__code__", None)
        if isinstance(code, CodeType) and Path(code.co_filename) == path:
            yield code


def _alike(new: CodeType, old: CodeType) -> bool:
    """Whether the code in memory is this code, or one of the codes in it (of a class, its methods)."""
    if new.co_name != old.co_name:
        inner = [code for code in new.co_consts if isinstance(code, CodeType) and code.co_name == old.co_name]
        return any(_alike(code, old) for code in inner)
    if (new.co_code, new.co_names, new.co_varnames) != (old.co_code, old.co_names, old.co_varnames):
        return False
    first = 0 if new.co_name.startswith("<") else 1  # of a function, the first constant is its docstring
    pairs = list(zip(new.co_consts[first:], old.co_consts[first:], strict=False))
    return len(new.co_consts) == len(old.co_consts) and all(
        _alike(a, b) if isinstance(a, CodeType) and isinstance(b, CodeType) else (type(a), a) == (type(b), b)
        for a, b in pairs
    )


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

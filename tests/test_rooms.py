"""Rooms keep their doors: what a module imports from another is public there, and nothing reaches outside.

Which room may import which is the contract that `make lint` checks (`[tool.importlinter]` in pyproject.toml). The page
of the book that shows the rooms must be true of them.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import draw_rooms
import pytest

ROOT = Path(__file__).resolve().parent.parent
OUTSIDE = ["training", "benchmarks", "tests", *sorted(path.stem for path in (ROOT / "book" / "scripts").glob("*.py"))]


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {_name(path): path for path in sorted((ROOT / "avsink").rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}


def _public(tree: ast.Module) -> set[str]:
    """The names in `__all__`: all strings in what is assigned to it."""
    assigned = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and any(getattr(to, "id", "") == "__all__" for to in node.targets)
    ]
    return {
        part.value
        for value in assigned
        for part in ast.walk(value)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    }


def _imports(tree: ast.Module) -> Iterator[tuple[int, str, str]]:
    """(line, module, name) of every import, those inside functions too; the name is "" for `import module`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from ((node.lineno, node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, "") for alias in node.names)


def test_only_public_names_are_imported():
    faults = []
    for module, tree in TREES.items():
        for line, home, name in _imports(tree):
            if home.split(".")[0] != "avsink" or f"{home}.{name}" in FILES or (home in FILES and not name):
                continue
            if home not in FILES:
                faults.append(f"{module}, line {line}: there is no {home}")
            elif name not in _public(TREES[home]):
                faults.append(f"{module}, line {line}: {name} is not in __all__ of {home}")
    assert not faults, "\n".join(faults)


def test_names_are_imported_from_where_they_live():
    """`avsink` itself passes on names of many rooms, so a room that asked it for one would import upwards."""
    for module, tree in TREES.items():
        asked = {name for _, home, name in _imports(tree) if home == "avsink" and f"avsink.{name}" not in FILES}
        assert not asked, module


def test_nothing_outside_the_package_is_imported():
    for module, tree in TREES.items():
        assert not {home.split(".")[0] for _, home, _ in _imports(tree)} & set(OUTSIDE), module


def test_the_names_at_the_top_are_public_where_they_live():
    import avsink

    for home, names in avsink._HOMES.items():
        assert set(names) <= _public(TREES[home]), home
        assert all(getattr(avsink, name) is not None for name in names)
    assert set(avsink.__all__) == {"__version__", "load", *avsink._HOME}


def test_the_contract_is_kept_and_would_notice(tmp_path):
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"]
    kept = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert kept.returncode == 0, kept.stdout

    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    upside_down = ["[importlinter]", "root_package = avsink", "[importlinter:contract:1]", "name = upside down"]
    upside_down += ["type = layers", "containers = avsink", "layers ="]
    upside_down += [f"    {room}" for room in reversed(contract["layers"])]
    (tmp_path / "contract.ini").write_text("\n".join(upside_down))
    broken = subprocess.run([*command, "--config", str(tmp_path / "contract.ini")], cwd=ROOT, capture_output=True)
    assert broken.returncode == 1


def test_the_drawing_is_that_of_the_code():
    assert draw_rooms.DRAWING.read_text() == draw_rooms.drawing(), "run python book/scripts/draw_rooms.py"
    assert draw_rooms.main(["--check"]) == 0


def test_a_drawing_that_is_out_of_date_is_noticed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(draw_rooms, "DRAWING", tmp_path / "rooms.svg")
    assert draw_rooms.main(["--check"]) == 1 and "is not that of the code" in capsys.readouterr().err
    assert draw_rooms.main([]) == 0 and draw_rooms.main(["--check"]) == 0


def test_how_rooms_are_drawn():
    arrows = {("charts", "results"), ("results", "sample"), ("charts", "sample"), ("media", "sample")}
    assert draw_rooms.needed(arrows) == arrows - {("charts", "sample")}
    rooms = ["charts", "media", "results", "sample"]
    assert draw_rooms.floors(rooms, arrows) == {"charts": 0, "media": 0, "results": 1, "sample": 2}
    with pytest.raises(ValueError, match="in circles among charts, results, sample"):
        draw_rooms.floors(rooms, {*arrows, ("sample", "charts")})


def test_the_page_names_every_room_and_modules_that_exist():
    page = (ROOT / "book" / "layout.md").read_text()
    named = {name for row in re.findall(r"^\| (`.*?) \|", page, re.M) for name in re.findall(r"`(\w+)`", row)}
    assert named == {name.split(".")[1] for name in FILES if name != "avsink"}
    modules = re.findall(r"`(avsink\.[\w.]+)`", page)
    assert len(modules) > 10 and [name for name in modules if name not in FILES] == []

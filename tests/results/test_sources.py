"""Which code a number depends on: what is imported, however far away, and nothing else."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from avsink import resources
from avsink.results.sources import StaleSource, attributes, closure, fingerprint

TREE = {
    "avsink/__init__.py": "_HOMES = {'avsink.far': ('reach', 'other')}\n\ndef load():\n    from avsink import never\n",
    "avsink/room/__init__.py": "from avsink.room.always import x\n\ndef lazily():\n    from avsink import never\n",
    "avsink/room/always.py": "x = 1\n",
    "avsink/room/instrument.py": '"""An instrument."""\nfrom avsink.room import helper\n\n'
    "def f():\n    from avsink.inside import y\n",
    "avsink/room/helper.py": "from .near import z\nREGISTRY = {'a': 'avsink.registered', 'b': 'avsink.not a module'}\n",
    "avsink/room/near.py": "import avsink.far\n\ndef g(card):\n    return card.sink_tau\n",
    "avsink/far.py": "import torch\n",
    "avsink/inside.py": "y = 2\n",
    "avsink/registered.py": "",
    "avsink/never.py": "",
    "avsink/apart.py": "from avsink.room import instrument\n",
}


@pytest.fixture
def root(tmp_path) -> Path:
    for name, text in TREE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_the_closure_is_what_is_imported_at_any_depth(root):
    names = {"helper", "near", "instrument", "always"}
    expected = {"avsink.room", "avsink.far", "avsink.inside", "avsink.registered", *(f"avsink.room.{n}" for n in names)}
    assert set(closure(["avsink.room.instrument"], root=root)) == expected
    assert set(closure(["avsink.apart"], root=root)) == expected | {"avsink.apart"}
    assert attributes(["avsink.room.instrument"], root=root) == {"sink_tau"}
    assert attributes(["avsink.room.instrument"], without="avsink.room.near", root=root) == frozenset()


@pytest.mark.parametrize("name", ["room/instrument", "room/helper", "room/near", "far", "registered", "room/always"])
def test_a_line_anywhere_in_it_changes_the_fingerprint(root, name):
    before = fingerprint(["avsink.room.instrument"], root=root)
    path = root / f"avsink/{name}.py"
    path.write_text(f"# a thought\n\n{path.read_text()}")
    assert fingerprint(["avsink.room.instrument"], root=root) == before
    path.write_text(f"{path.read_text()}\nchanged = 1\n")
    assert fingerprint(["avsink.room.instrument"], root=root) != before


@pytest.mark.parametrize("name", ["__init__", "never", "apart"])
def test_a_line_elsewhere_does_not(root, name):
    before = fingerprint(["avsink.room.instrument"], root=root)
    path = root / f"avsink/{name}.py"
    path.write_text(f"{path.read_text()}\nchanged = 1\n")
    assert fingerprint(["avsink.room.instrument"], root=root) == before


def test_docstrings_do_not_count(root):
    before = fingerprint(["avsink.room.instrument"], root=root)
    path = root / "avsink/room/instrument.py"
    path.write_text(path.read_text().replace("An instrument.", "Said better."))
    assert fingerprint(["avsink.room.instrument"], root=root) == before


def test_the_real_closure_of_an_instrument_holds_what_ran(tmp_path):
    """Of the package's modules that are in memory after a sweep's imports, none is missing but façade and siblings."""
    found = closure(["avsink.instruments.knockout"])
    assert {"avsink.instruments.pathways", "avsink.engine.replay_attention", "avsink.engine.partial_softmax"} <= set(
        found
    )
    assert not any(name.startswith(("avsink.charts", "avsink.results", "avsink.papers")) for name in found)
    code = "import sys, avsink.instruments.knockout; print(*(n for n in sys.modules if n.startswith('avsink.')))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert set(ran) - {"avsink.version"} <= set(found)  # which the façade alone imports


@pytest.mark.parametrize("edited", ["engine/patches.py", "instruments/pathways.py", "compat.py"])
def test_editing_a_real_helper_two_imports_away_is_noticed(tmp_path, edited):
    shutil.copytree(resources.PACKAGE, tmp_path / "avsink", ignore=shutil.ignore_patterns("_data", "__pycache__"))
    modules = ["avsink.instruments.knockout"]
    before = fingerprint(modules, root=tmp_path)
    assert before == fingerprint(modules)
    path = tmp_path / "avsink" / edited
    path.write_text(path.read_text() + "\nEDITED = 1\n")
    assert fingerprint(modules, root=tmp_path) != before
    other = tmp_path / "avsink/charts/dots.py"
    now = fingerprint(modules, root=tmp_path)
    other.write_text(other.read_text() + "\nEDITED = 1\n")
    assert fingerprint(modules, root=tmp_path) == now


@pytest.mark.parametrize(
    "text",
    [
        "import avsink\n\ndef f():\n    avsink.reach()\n",
        "from avsink import reach\n",
        "import avsink as a\nx = a.other\n",
    ],
)
def test_a_name_of_the_facade_counts_as_the_module_where_it_is_at_home(root, text):
    (root / "avsink/mine.py").write_text(text)
    assert set(closure(["avsink.mine"], root=root)) == {"avsink.mine", "avsink.far"}


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A user's instrument, which asks the façade for an engine and imports a helper that imports another."""
    folder = tmp_path / "mine"
    folder.mkdir()
    recipe = (
        "import avsink\nimport own_helper\n\ndef rows(model, sample):\n    return avsink.clean_run(model, sample)\n"
    )
    (folder / "own_instrument.py").write_text(recipe)
    (folder / "own_helper.py").write_text("def f():\n    from own_second import x\n    return x\n")
    (folder / "own_second.py").write_text("LIMIT = 3\n\ndef x(n):\n    return n + LIMIT\n")
    monkeypatch.syspath_prepend(folder)
    yield folder
    for name in ("own_instrument", "own_helper", "own_second"):
        sys.modules.pop(name, None)


def test_a_users_own_helpers_are_followed_and_the_engine_that_the_facade_gives(mine):
    import own_instrument

    found = closure([own_instrument.__name__])
    assert {"own_helper", "own_second", "avsink.engine.run", "avsink.engine.replay"} <= set(found)
    assert not any(name.partition(".")[0] in ("torch", "numpy", "json") for name in found)


@pytest.mark.parametrize("change", ["n + LIMIT -> n * LIMIT", "LIMIT = 3 -> LIMIT = 4"])
def test_code_that_was_edited_after_its_import_is_refused(mine, change):
    import own_instrument
    import own_second

    assert own_second.x(1) == 4
    path, (old, new) = mine / "own_second.py", change.split(" -> ")
    fingerprint([own_instrument.__name__])
    path.write_text(f"# a thought\n{path.read_text()}")
    fingerprint([own_instrument.__name__])
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(StaleSource, match="own_second.py was edited after Python had imported it.*restart Python"):
        fingerprint([own_instrument.__name__])

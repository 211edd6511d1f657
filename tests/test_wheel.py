"""A wheel, unpacked away from the repository, finds its data; without them it says in one sentence what to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Python starts without the working folder (-I) and without .pth files (-S), one of which names the repository. So the
# wheel comes first, and dependencies come from this environment's folder of packages, by path.
START = """
import sys
sys.path[:0] = [{site!r}]
sys.path.append({packages!r})
import avsink
assert avsink.__file__.startswith({site!r}), avsink.__file__
"""

WORKS = """
samples = avsink.load_samples("toyworld", n_samples=1)
assert samples[0].media[0].path.is_file() and str(samples[0].media[0].path).startswith({site!r})
assert avsink.card("tiny-omni").taught
from avsink.papers.tables import paper
assert len(paper("flow_layers"))
model = avsink.load("tiny-omni", device="cpu")
assert "A" in avsink.clean_run(model, model.prepare(samples[0])).letter_probabilities
"""

MISSING = """
from avsink.papers.tables import paper
for attempt in (lambda: avsink.load("tiny-omni"), lambda: paper("flow_layers")):
    try:
        attempt()
    except FileNotFoundError as error:
        print(error)
assert "torch" not in sys.modules
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder that holds the unpacked wheel and nothing else."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run(code: str, site: Path) -> str:
    places = {"site": str(site), "packages": sysconfig.get_path("purelib")}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AVSINK_")}
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", (START + code).format(**places)],
        cwd=site.parent,
        env=environment | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_holds_the_package_its_data_and_nothing_else(site):
    assert {path.name for path in site.iterdir() if path.suffix != ".dist-info"} == {"avsink"}
    committed = subprocess.run(["git", "ls-files", "data"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    held = {str(path.relative_to(site / "avsink" / "_data")) for path in (site / "avsink" / "_data").rglob("*.*")}
    assert {path.removeprefix("data/") for path in committed} <= held


def test_it_loads_a_model_and_samples(site):
    run(WORKS, site)


def test_without_data_it_says_what_to_do(site, tmp_path):
    shutil.copytree(site / "avsink", tmp_path / "avsink", ignore=shutil.ignore_patterns("_data"))
    said = run(MISSING, tmp_path).splitlines()
    assert len(said) == 2
    for sentence in said:
        assert "set AVSINK_HOME to a checkout of the repository, or install a wheel" in sentence
        assert ". " not in sentence

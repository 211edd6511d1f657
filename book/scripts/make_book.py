"""The book: run each notebook on each model, then render the pages.

    python book/scripts/make_book.py                 # what `make book` does: _build/html/index.html
    python book/scripts/make_book.py --mock DIR      # a small one into DIR, with the sizes that the notebooks name for tests

1. Every `Run` in `RUNS` is one page: papermill executes `notebooks/<notebook>.ipynb` on the model into
   `book/runs/<model>/<notebook>.ipynb`.
2. A run is skipped when nothing that could change it has changed: the notebook, the package, the embedded data, the
   pinned versions, the parameters. Their hash is kept in the metadata of the executed notebook.
3. Vega, with which the pages draw their charts, is written from the installed package into one local file.
4. jupyter-book renders with execution off, and every warning is an error.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import altair as alt
import nbformat
import papermill
import vl_convert
from notebook_forms import NOTEBOOKS, parameters_cell

__all__ = ["RUNS", "Run", "build", "execute", "vega_bundle"]

ROOT = NOTEBOOKS.parent
INPUTS = ("avsink/**/*.py", "data/**/*", "constraints.txt")  # besides the notebook: what its numbers depend on


@dataclass(frozen=True, kw_only=True)
class Run:
    """A notebook on a model: one page of the book. `parameters` override the notebook's own; then `variant` tells its
    page from that of the notebook as it is."""

    notebook: str
    model: str
    variant: str = ""
    parameters: Mapping[str, object] = field(default_factory=dict)

    @property
    def source(self) -> Path:
        return NOTEBOOKS / f"{self.notebook}.ipynb"

    @property
    def page(self) -> str:
        """Where the executed notebook lies, relative to the repository."""
        name = f"{self.notebook}_{self.variant}" if self.variant else self.notebook
        return f"book/runs/{self.model}/{name}.ipynb"


RUNS = (
    Run(notebook="toyworld", model="tiny-omni"),
    Run(notebook="flow1_attention", model="tiny-omni"),
    Run(notebook="flow2_pathways", model="tiny-omni"),
    Run(notebook="flow2_window", model="tiny-omni"),
    Run(notebook="flow3_parallel", model="tiny-omni"),
    Run(notebook="flow4_discarding", model="tiny-omni"),
    Run(
        notebook="flow4_discarding",
        model="tiny-omni",
        variant="interleaved",
        parameters={"task": "match the reference", "cross_data": None},
    ),
    Run(notebook="flow_reported", model="tiny-omni"),
    Run(notebook="hubs_explorer", model="tiny-omni"),
    Run(notebook="hubs1_dominance", model="tiny-omni"),
    Run(notebook="hubs2_where", model="tiny-omni"),
    Run(notebook="hubs3_sinks", model="tiny-omni"),
    *(
        Run(notebook=notebook, model="tiny-omni-plain", variant="control", parameters={"n_samples": 200, "each": 40})
        for notebook in ("hubs2_where", "hubs3_sinks")
    ),
    Run(notebook="hubs_calibration", model="tiny-omni-plain", variant="control"),
    Run(notebook="hubs_calibration", model="tiny-omni"),
    Run(notebook="engine", model="tiny-omni"),
)


def build(*, output: Path = ROOT, mock: bool = False) -> Path:
    """Execute what is stale, render, and return the folder of HTML pages, `output/_build/html`.

    mock: with the notebooks' sizes for tests; into another `output`, lest a small run take the place of a real one.
    """
    for at, run in enumerate(RUNS, start=1):
        execute(run, output / run.page, mock=mock, label=f"[{at}/{len(RUNS)}] {run.notebook} on {run.model}")
    sources = _gather(output / "_build/sources", runs=output / "book/runs")
    jupyter_book = Path(sys.executable).with_name("jupyter-book")
    options = ["--path-output", output, "--all", "--quiet", "-W", "-n", "--keep-going"]
    if subprocess.run([jupyter_book, "build", sources, *options]).returncode:
        raise SystemExit("the pages were not rendered without a warning; what jupyter-book says above is the reason")
    return output / "_build/html"


def execute(run: Run, page: Path, *, mock: bool = False, label: str) -> bool:
    """Execute a run into `page` unless that would change nothing; whether it was executed."""
    notebook = nbformat.read(run.source, as_version=4)
    parameters = {
        **({"model": run.model} if "model" in papermill.inspect_notebook(run.source) else {}),
        **run.parameters,
    }
    if mock:
        parameters |= parameters_cell(notebook).metadata.get("nbmake", {}).get("mock", {})
    fingerprint = _fingerprint(run.source, parameters)
    if page.exists() and nbformat.read(page, as_version=4).metadata.get("avsink_fingerprint") == fingerprint:
        print(f"{label}: unchanged", flush=True)
        return False

    started = time.monotonic()
    print(f"{label}: running", flush=True)
    page.parent.mkdir(parents=True, exist_ok=True)
    unfinished = page.with_suffix(".unfinished.ipynb")  # a run that fails must not become a page
    os.environ["AVSINK_BOOK"] = "1"  # the kernel inherits it, and draws for the book's own renderer
    quiet = ["--log-level=ERROR"]  # the kernel's own remarks about its transport are not for the reader
    papermill.execute_notebook(
        run.source, unfinished, parameters=parameters, cwd=ROOT, progress_bar=sys.stderr.isatty(), extra_arguments=quiet
    )
    executed = nbformat.read(unfinished, as_version=4)
    if run.variant:  # two pages of one notebook must not bear one title
        title, *rest = executed.cells[0].source.split("\n")
        executed.cells[0].source = "\n".join([f"{title} ({run.variant})", *rest])
    executed.metadata["avsink_fingerprint"] = fingerprint
    nbformat.write(executed, page)
    unfinished.unlink()
    print(f"{label}: done in {time.monotonic() - started:.0f} s", flush=True)
    return True


def vega_bundle() -> str:
    """Vega, Vega-Lite and vega-embed of the version that Altair writes for, as one script.

    It is wrapped in a function because it declares top-level names (`_` among them) that Sphinx's own search scripts
    declare too; a clash would leave every chart blank.
    """
    version = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    return f"(() => {{\n{vl_convert.javascript_bundle(vl_version=version)}\n}})();\n"


def _fingerprint(notebook: Path, parameters: Mapping[str, object]) -> str:
    parts = [hashlib.sha256(notebook.read_bytes()).hexdigest(), _inputs_fingerprint()]
    return hashlib.sha256(json.dumps([parts, parameters], sort_keys=True).encode()).hexdigest()


@cache
def _inputs_fingerprint() -> str:
    digest = hashlib.sha256()
    for path in sorted({path for pattern in INPUTS for path in ROOT.glob(pattern) if path.is_file()}):
        if "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(ROOT)}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _gather(sources: Path, *, runs: Path) -> Path:
    """A folder with what the pages are made of and nothing else: Sphinx reads whatever lies about, .venv included."""
    shutil.rmtree(sources, ignore_errors=True)
    shutil.copytree(ROOT / "book", sources / "book", ignore=shutil.ignore_patterns("runs"))
    shutil.copytree(runs, sources / "book/runs", ignore=shutil.ignore_patterns("*.unfinished.ipynb"))
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy(ROOT / name, sources / name)
    (sources / "book/_static/vega.js").write_text(vega_bundle())
    return sources


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python book/scripts/make_book.py", description="Run the notebooks and render the book."
    )
    parser.add_argument("--mock", type=Path, metavar="DIR", help="a small book into DIR, for tests")
    arguments = parser.parse_args()
    started = time.monotonic()
    mock = arguments.mock is not None
    pages = build(output=arguments.mock.resolve() if mock else ROOT, mock=mock)
    print(f"the book is at {pages / 'index.html'} ({time.monotonic() - started:.0f} s)")


if __name__ == "__main__":
    main()

"""The pages of the book that are notebooks: each is one notebook, run on one model with certain parameters.

PAGES                  # all of them, as the table of contents lists them
PAGES[3].source        # notebooks/flow_finding2_window.ipynb
PAGES[3].name          # tiny-omni/flow_finding2_window: the executed notebook in book/runs, and the page's address
write_small()          # the same pages in the sizes for tests, in book/small, to be run by `pytest --nbmake`
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from notebook_forms import NOTEBOOKS, parameter_names, parameters_cell

__all__ = ["PAGES", "ROOT", "SMALL", "Page", "executed", "parameters", "retitle", "write_small"]

ROOT = NOTEBOOKS.parent
SMALL = ROOT / "book/small"


@dataclass(frozen=True, kw_only=True)
class Page:
    """A notebook on a model.

    Attributes:
        notebook: its name in `notebooks/`.
        model: what it is run on, or whose rows it shows.
        variant: tells apart the pages of one notebook; part of the page's title and address.
        parameters: in place of the notebook's own.
        seconds: how long it takes on one core, measured once. Only the order of pages depends on it: long ones first.
        after: notebooks whose results on the same model it reads. It starts after them, or both would compute the same.
    """

    notebook: str
    model: str
    variant: str = ""
    parameters: Mapping[str, object] = field(default_factory=dict)
    seconds: int = 60
    after: tuple[str, ...] = ()

    @property
    def source(self) -> Path:
        """The notebook."""
        return NOTEBOOKS / f"{self.notebook}.ipynb"

    @property
    def name(self) -> str:
        """The executed notebook, relative to `book/runs` and without its suffix."""
        return f"{self.model}/{self.notebook}_{self.variant}" if self.variant else f"{self.model}/{self.notebook}"

    def place(self, folder: Path) -> Path:
        """The executed notebook below `folder`."""
        return folder / f"{self.name}.ipynb"


TAUGHT, CONTROL = "tiny-omni", "tiny-omni-plain"
FEWER = {"n_samples": 200, "each": 40}  # there is nothing small to be found in the control

PAGES = (
    Page(notebook="flow_finding1_attention", model=TAUGHT, seconds=30),
    Page(notebook="flow_finding2_pathways", model=TAUGHT, seconds=100),
    Page(notebook="flow_finding2_window", model=TAUGHT, seconds=50),
    Page(notebook="flow_finding3_interleaved", model=TAUGHT, seconds=75),
    Page(notebook="flow_finding4_discarding", model=TAUGHT, seconds=105),
    Page(
        notebook="flow_finding4_discarding",
        model=TAUGHT,
        variant="interleaved",
        parameters={"task": "match the reference", "cross_dataset": None},
        seconds=60,
    ),
    Page(
        notebook="flow_reported",
        model=TAUGHT,
        seconds=15,
        after=("flow_finding1_attention", "flow_finding4_discarding"),
    ),
    Page(notebook="hubs_explorer", model=TAUGHT, seconds=12),
    Page(notebook="hubs_dominance", model=TAUGHT, seconds=75),
    Page(notebook="hubs_finding1_sinks", model=TAUGHT, seconds=150, after=("hubs_dominance",)),
    Page(notebook="hubs_finding1_sinks", model=CONTROL, variant="control", parameters=FEWER, seconds=65),
    Page(notebook="hubs_finding2_crossmodal_sinks", model=TAUGHT, seconds=25, after=("hubs_finding1_sinks",)),
    Page(
        notebook="hubs_finding2_crossmodal_sinks",
        model=CONTROL,
        variant="control",
        parameters=FEWER,
        seconds=20,
        after=("hubs_finding1_sinks",),
    ),
    Page(notebook="hubs_released", model="Qwen2.5-Omni-7B", seconds=8),
    Page(notebook="hubs_calibration", model=TAUGHT, seconds=15),
    Page(notebook="hubs_calibration", model=CONTROL, variant="control", seconds=15),
    Page(notebook="engine", model=TAUGHT, seconds=12),
    Page(notebook="toyworld", model=TAUGHT, seconds=60),
)


def parameters(page: Page, notebook: NotebookNode) -> dict[str, object]:
    """What the page gives its notebook: the model, if the notebook asks for one, and the page's own parameters."""
    model = {"model": page.model} if "model" in parameter_names(notebook) else {}
    return {**model, **page.parameters}


def retitle(page: Page, notebook: NotebookNode) -> None:
    """Add the variant to the title in the first cell: no two pages have the same title."""
    if page.variant:
        title, *rest = notebook.cells[0].source.split("\n")
        notebook.cells[0].source = "\n".join([f"{title} ({page.variant})", *rest])


def write_small(folder: Path = SMALL) -> list[Path]:
    """Write the notebook of each page as nbmake is to run it, and nothing else, into `folder`; return the files.

    1. Parameters are the page's, but sizes are those that the notebook names as `mock`. They are in a cell of their own
       after the parameters, as papermill writes them.
    2. Results are kept below `folder` and not in the repository's.
    3. Charts are drawn for the book.

    The files hold all of this themselves. `pytest --nbmake --overwrite` executes them in place.
    """
    shutil.rmtree(folder, ignore_errors=True)
    written = []
    for page in PAGES:
        notebook = nbformat.read(page.source, as_version=4)
        own = parameters_cell(notebook)
        given = parameters(page, notebook) | own.metadata.get("nbmake", {}).get("mock", {})
        if "results" in parameter_names(notebook):
            given["results"] = str(folder.resolve() / "results")
        own.metadata["nbmake"] = {"post_cell_execute": ["import os", "os.environ['AVSINK_BOOK'] = '1'"]}
        lines = ["# Parameters", *(f"{name} = {value!r}" for name, value in given.items())]
        injected = nbformat.v4.new_code_cell(
            "\n".join(lines), metadata={"tags": ["injected-parameters"]}, id="injected"
        )
        notebook.cells.insert(notebook.cells.index(own) + 1, injected)
        retitle(page, notebook)
        page.place(folder).parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, page.place(folder))
        written.append(page.place(folder))
    return written


def executed(path: Path) -> bool:
    """Whether a notebook of `write_small` has been run, to its end or to an error."""
    try:
        notebook = json.loads(path.read_bytes())
    except (OSError, ValueError):  # nbmake is writing it
        return False
    return any(cell.get("execution_count") for cell in notebook["cells"])

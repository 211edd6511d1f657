"""A finding's notebook: the parameters that papermill is given reach it, or are refused within seconds."""

import subprocess
import sys

import nbformat
import pytest
from notebook_forms import NOTEBOOKS, parameters_cell

from avsink.parameters import ParameterError

NOTEBOOK = NOTEBOOKS / "flow_finding2_pathways.ipynb"


def checked(**given) -> None:
    """Run the parameters, those that papermill injects, and the cell that checks them, as IPython would."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    parameters = parameters_cell(notebook)
    after = [cell for cell in notebook.cells if cell.cell_type == "code"][1]
    injected = "\n".join(["# Parameters", *(f"{name} = {value!r}" for name, value in given.items())])
    namespace: dict = {"In": [""]}
    for source in (parameters.source, injected, after.source):
        namespace["In"].append(source)
        exec(source, namespace)


def test_the_defaults_and_what_the_readme_types_are_accepted():
    checked()
    checked(model="tiny-omni", n_samples=8)
    checked(model="Qwen/Qwen2.5-Omni-7B", window=7, dtype="bfloat16", device="cuda")


@pytest.mark.parametrize("given", [{"n_sample": 8}, {"model": "tiny-omnl"}, {"window": 4}, {"dataset": "toy"}])
def test_mistyped_parameters_are_refused(given):
    with pytest.raises(ParameterError, match="cannot be used"):
        checked(**given)


def test_papermill_fails_before_anything_is_loaded(tmp_path):
    command = [sys.executable, "-m", "papermill", NOTEBOOK, tmp_path / "out.ipynb", "-p", "n_sample", "8"]
    run = subprocess.run([*command, "--no-progress-bar"], capture_output=True, text=True, timeout=300)
    assert run.returncode != 0 and "Did you mean n_samples?" in run.stderr
    executed = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    counts = [cell.execution_count for cell in executed.cells if cell.cell_type == "code" and cell.execution_count]
    assert len(counts) == 3  # parameters, injected parameters, the check

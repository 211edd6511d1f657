"""Notebooks: the committed ones keep to the rules, and the rules notice what they are there to notice."""

from __future__ import annotations

import nbformat
import notebook_forms
import pytest

PARAMETERS = {"tags": ["parameters"], "nbmake": {"mock": {"n": 1}}}


def _write(folder, *cells, parameters='n = 8  # samples\nname = "toyworld"  # the benchmark'):
    """A notebook with a parameters cell and the given code cells, in both forms."""
    v4 = nbformat.v4
    notebook = v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    notebook.cells = [v4.new_markdown_cell("# A claim"), v4.new_code_cell(parameters, metadata=PARAMETERS)]
    notebook.cells += [v4.new_code_cell(source) for source in cells]
    nbformat.write(notebook, folder / "finding.ipynb")
    notebook_forms.sync(folder)
    return folder


def test_the_notebooks_of_the_book_are_in_order():
    assert notebook_forms.check() == []


def test_a_good_notebook_has_no_problems(tmp_path):
    assert notebook_forms.check(_write(tmp_path, "print(n)")) == []


@pytest.mark.parametrize(
    ("cell", "problem"),
    [
        ("def f():\n    return 1", "defines something"),
        ("f = lambda x: x", "defines something"),
        ("\n".join(f"x{i} = {i}" for i in range(16)), "has 16 lines, 15 allowed"),
    ],
)
def test_programs_in_cells_are_noticed(tmp_path, cell, problem):
    assert any(problem in found for found in notebook_forms.check(_write(tmp_path, cell)))


@pytest.mark.parametrize(
    ("cell", "problem"),
    [
        ("done.counts.style.hide()", "uses `done.counts.style`"),
        ("shown = done.counts.style", "uses `done.counts.style`"),
        ("done.counts", "shows `done.counts` as it is"),
        ("pd.DataFrame(rows)", "shows `pd.DataFrame(rows)` as it is"),
        ("n = 1\n[done.rows, n]", "shows `[done.rows, n]` as it is"),
        ("reported.readable(table, first='mask')", "shows `reported.readable(table, first='mask')` as it is"),
        ("verdicts.conclude(claim, parts, where='')", "shows `verdicts.conclude(claim, parts, where='')` as it is"),
        ("display(done.counts)\nn = 1", "uses `display(done.counts)`"),
        ("from IPython.display import HTML", "uses `from IPython.display import HTML`"),
    ],
)
def test_a_cell_shows_nothing_past_the_charts_which_escape_it(tmp_path, cell, problem):
    """`df.style.hide()` put a category called `<script>` into the page as a script."""
    assert any(problem in found for found in notebook_forms.check(_write(tmp_path, cell)))


@pytest.mark.parametrize(
    "cell",
    [
        "charts.table(done.counts)",
        "print(done)",
        "charts.verdict(verdicts.conclude(claim, parts, where=''))",
        "done = measure()",
        "if n:\n    print(n)",
    ],
)
def test_what_escapes_may_be_shown(tmp_path, cell):
    assert notebook_forms.check(_write(tmp_path, cell)) == []


def test_too_much_code_is_noticed(tmp_path):
    cells = ["\n".join(f"x{i} = {i}" for i in range(14))] * 8
    assert any("114 lines of code, 100 allowed" in found for found in notebook_forms.check(_write(tmp_path, *cells)))


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ("n = 4 * 2  # samples", "does not assign a literal"),
        ("import os  # for paths", "does not assign a literal"),
        ("n = 8", "has no comment"),
    ],
)
def test_parameters_are_commented_literals(tmp_path, parameters, problem):
    assert any(problem in found for found in notebook_forms.check(_write(tmp_path, parameters=parameters)))


def test_outputs_are_noticed_and_dropped(tmp_path):
    path = _write(tmp_path, "print(n)") / "finding.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[-1].outputs = [nbformat.v4.new_output("stream", text="8\n")]
    nbformat.write(notebook, path)
    assert any("has outputs" in found for found in notebook_forms.check(tmp_path))
    notebook_forms.sync(tmp_path)
    assert notebook_forms.check(tmp_path) == []


def test_forms_that_differ_are_noticed_and_the_newer_one_wins(tmp_path):
    text = _write(tmp_path, "print(n)") / "finding.md"
    text.write_text(text.read_text().replace("print(n)", "print(n + 1)"))
    assert any("forms differ" in found for found in notebook_forms.check(tmp_path))
    assert notebook_forms.sync(tmp_path) == [tmp_path / "finding.ipynb"]
    notebook = nbformat.read(tmp_path / "finding.ipynb", as_version=4)
    assert notebook.cells[-1].source == "print(n + 1)"
    assert notebook.cells[1].metadata == PARAMETERS


def test_a_missing_form_is_noticed(tmp_path):
    (_write(tmp_path) / "finding.md").unlink()
    assert notebook_forms.check(tmp_path) == ["finding.md is missing: run `make sync`"]


def test_sync_is_stable(tmp_path):
    _write(tmp_path, "print(n)")
    assert notebook_forms.sync(tmp_path) == []

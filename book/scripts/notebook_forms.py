"""The notebooks' two forms, `.ipynb` to run and `.md` to review, and the rules that every notebook follows.

    python book/scripts/notebook_forms.py check      # list what is wrong; exit status 1 if anything is
    python book/scripts/notebook_forms.py sync       # the newer form of each pair wins; outputs are dropped

A notebook is an argument with figures, not a program: what is worth a function belongs in `avsink`. The rules:

1. two forms with the same cells, neither with outputs;
2. at most 100 lines of code, 15 in a cell (20 parameters, a literal a line), and no `def`, `class` or `lambda`;
3. exactly one cell tagged `parameters`: assignments of literals, each with a comment that says what it is;
4. what a cell shows is printed, or made by `avsink.charts`, which escapes it. A data frame or its `.style` would put
   whatever a data set calls its categories into the page as HTML.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode

__all__ = ["NOTEBOOKS", "check", "parameter_names", "parameters_cell", "sync"]

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
MAX_LINES, MAX_CELL_LINES, MAX_PARAMETERS = 100, 15, 20
SHOWING = {"print", "parameters.check"}  # calls that may end a cell, besides those of `charts`
KEPT_METADATA = {"tags", "mystnb", "nbmake"}


def check(folder: Path = NOTEBOOKS) -> list[str]:
    """Return what is wrong with the notebooks in a folder, one sentence each."""
    return [problem for stem in _stems(folder) for problem in _check_pair(folder / stem)]


def sync(folder: Path = NOTEBOOKS) -> list[Path]:
    """Write both forms of each notebook from the newer one, without outputs, and return the files that changed."""
    changed = []
    for stem in _stems(folder):
        forms = [
            path for path in ((folder / stem).with_suffix(suffix) for suffix in (".ipynb", ".md")) if path.exists()
        ]
        source = max(forms, key=lambda path: path.stat().st_mtime)
        notebook = _canonical(jupytext.read(source))
        texts = {
            ".ipynb": nbformat.writes(notebook) + "\n",
            ".md": jupytext.writes(notebook, fmt="md:myst"),
        }
        for suffix, text in texts.items():
            path = (folder / stem).with_suffix(suffix)
            if not path.exists() or path.read_text() != text:
                path.write_text(text)
                changed.append(path)
    return changed


def parameters_cell(notebook: NotebookNode) -> NotebookNode:
    """Return the cell after which papermill injects parameters. Raises ValueError unless there is exactly one."""
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        raise ValueError(f"{len(tagged)} cells are tagged `parameters`; a notebook has exactly one")
    return tagged[0]


def parameter_names(notebook: NotebookNode) -> list[str]:
    """Return the names that the `parameters` cell assigns, in its order."""
    nodes = [node for node in ast.walk(ast.parse(parameters_cell(notebook).source)) if isinstance(node, ast.Name)]
    return [node.id for node in nodes if isinstance(node.ctx, ast.Store)]


def _stems(folder: Path) -> list[str]:
    return sorted({path.stem for suffix in ("*.ipynb", "*.md") for path in folder.glob(suffix)})


def _check_pair(path: Path) -> list[str]:
    forms = [path.with_suffix(suffix) for suffix in (".ipynb", ".md")]
    missing = [form for form in forms if not form.exists()]
    if missing:
        return [f"{missing[0].name} is missing: run `make sync`"]
    notebook, text = (jupytext.read(form) for form in forms)
    problems = _untidy(notebook)
    if [_essence(cell) for cell in notebook.cells] != [_essence(cell) for cell in text.cells]:
        problems.append("the two forms differ: run `make sync` (the newer one wins)")
    return [f"{path.name}: {problem}" for problem in problems]


def _untidy(notebook: NotebookNode) -> list[str]:
    """Check outputs and the rules 2 to 4 of the module's docstring."""
    problems = []
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if any(cell.get("outputs") or cell.get("execution_count") for cell in code):
        problems.append("has outputs: run `make sync`")
    sizes = [_code_lines(cell.source) for cell in code]
    if sum(sizes) > MAX_LINES:
        problems.append(f"{sum(sizes)} lines of code, {MAX_LINES} allowed: move some into avsink")
    for at, (cell, size) in enumerate(zip(code, sizes, strict=True), start=1):
        allowed = MAX_PARAMETERS if "parameters" in cell.metadata.get("tags", ()) else MAX_CELL_LINES
        if size > allowed:
            problems.append(f"code cell {at} has {size} lines, {allowed} allowed")
        program = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
        if any(isinstance(node, program) for node in ast.walk(ast.parse(cell.source))):
            problems.append(f"code cell {at} defines something: that belongs in avsink")
        problems += [f"code cell {at} {shown}" for shown in _shown_bare(ast.parse(cell.source))]
    try:
        problems += _check_parameters(parameters_cell(notebook).source)
    except ValueError as error:
        problems.append(str(error))
    return problems


def _shown_bare(cell: ast.Module) -> list[str]:
    """What a cell shows past `avsink.charts` (rule 4)."""
    found = []
    last = cell.body[-1] if cell.body else None
    if isinstance(last, ast.Expr):
        call = ast.unparse(last.value.func) if isinstance(last.value, ast.Call) else ""
        if call not in SHOWING and not call.startswith("charts."):
            found.append(f"shows `{ast.unparse(last)}` as it is: use charts.table, or print it")
    for node in ast.walk(cell):
        if isinstance(node, ast.Attribute) and node.attr == "style":
            found.append(f"uses `{ast.unparse(node)}`, which escapes nothing: use charts.table")
        if isinstance(node, ast.Import | ast.ImportFrom) and "IPython" in ast.unparse(node):
            found.append(f"uses `{ast.unparse(node)}`, which escapes nothing: end a cell with what it shows")
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "display":
            found.append(f"uses `{ast.unparse(node)}`: end a cell with what it shows")
    return found


def _check_parameters(source: str) -> list[str]:
    """Check that the parameters cell holds assignments of literals, each with a comment on its line."""
    problems, lines = [], source.splitlines()
    for node in ast.parse(source).body:
        what = ast.unparse(node)
        try:
            if not isinstance(node, ast.Assign | ast.AnnAssign):
                raise ValueError
            ast.literal_eval(node.value)
        except ValueError:
            problems.append(f"parameters: `{what}` does not assign a literal")
        if "#" not in lines[node.end_lineno - 1]:
            problems.append(f"parameters: `{what}` has no comment")
    return problems


def _code_lines(source: str) -> int:
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in source.splitlines())


def _essence(cell: NotebookNode) -> tuple:
    metadata = {key: value for key, value in cell.metadata.items() if key in KEPT_METADATA}
    return cell.cell_type, cell.source.strip(), metadata


def _canonical(notebook: NotebookNode) -> NotebookNode:
    """Copy the cells without what changes from one save to the next: outputs, counts, random ids, editors' data."""
    cells = []
    for at, old in enumerate(notebook.cells):
        new = nbformat.v4.new_code_cell if old.cell_type == "code" else nbformat.v4.new_markdown_cell
        metadata = {key: value for key, value in old.metadata.items() if key in KEPT_METADATA}
        cells.append(new(old.source, metadata=metadata, id=f"cell-{at:02}"))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


def main() -> int:
    """Run the command `check` or `sync`."""
    match sys.argv[1:]:
        case ["check"]:
            problems = check()
            print("\n".join(problems) or f"{len(_stems(NOTEBOOKS))} notebooks in order")
            return bool(problems)
        case ["sync"]:
            print("\n".join(f"wrote {path.name}" for path in sync()) or "nothing to do")
            return 0
    print("usage: python book/scripts/notebook_forms.py check | sync", file=sys.stderr)
    return 2


if __name__ == "__main__":
    raise SystemExit(main())

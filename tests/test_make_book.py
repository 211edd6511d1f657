"""How the book is made: which pages are executed, in which order, and what happens when one fails or is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import make_book
import nbformat
import pages
import psutil
import pytest

V4 = nbformat.v4


def _notebook(folder: Path, name: str, *cells: str) -> None:
    """Write a notebook with the parameter `n` and the given cells."""
    first = [V4.new_markdown_cell(f"# {name}"), V4.new_code_cell("n = 1  # number", metadata={"tags": ["parameters"]})]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = V4.new_notebook(cells=[*first, *map(V4.new_code_cell, cells)], metadata={"kernelspec": kernel})
    nbformat.write(notebook, folder / f"{name}.ipynb")


@pytest.fixture
def notebooks(tmp_path, monkeypatch) -> Path:
    """A folder that takes the place of `notebooks`; `divide` prints 1 / n."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    monkeypatch.setattr(pages, "NOTEBOOKS", folder)
    _notebook(folder, "divide", "print(1 / n)")
    return folder


def _page(notebook: str = "divide", **given) -> pages.Page:
    return pages.Page(notebook=notebook, model="none", **given)


def test_a_page_is_executed_again_only_if_something_changed(notebooks, tmp_path, capsys):
    page, runs = _page(), tmp_path / "runs"
    assert make_book.execute_all([page], folder=runs) == []
    assert "none/divide: done in" in capsys.readouterr().out
    before = page.place(runs).read_bytes()
    assert make_book.execute_all([page], folder=runs) == []
    assert capsys.readouterr().out == "none/divide: unchanged\n"
    assert page.place(runs).read_bytes() == before
    assert make_book.execute_all([_page(parameters={"n": 4})], folder=runs) == []
    assert "0.25" in page.place(runs).read_text()
    _notebook(notebooks, "divide", "print(3 / n)")
    assert make_book.execute_all([page], folder=runs) == []
    assert "3.0" in page.place(runs).read_text()


def test_a_variant_has_a_title_and_a_file_of_its_own(notebooks, tmp_path):
    page = _page(variant="quarter", parameters={"n": 4})
    make_book.execute(page, page.place(tmp_path))
    executed = nbformat.read(tmp_path / "none/divide_quarter.ipynb", as_version=4)
    assert executed.cells[0].source == "# divide (quarter)"
    assert executed.metadata["avsink"]["seconds"] > 0


def test_a_page_that_fails_stops_no_other_and_is_not_rendered(notebooks, tmp_path, monkeypatch, capsys):
    """All failures are listed, with notebook, cell and error; the page of an earlier run is not shown in its place."""
    broken, missing = _page(variant="broken", parameters={"n": 0}), _page("nowhere")
    runs = tmp_path / "book/runs"
    for page in (broken, missing):
        page.place(runs).parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(V4.new_notebook(), page.place(runs))
    (notebooks / "nowhere.ipynb").write_text("{}")
    monkeypatch.setattr(make_book, "PAGES", (broken, missing, _page()))
    monkeypatch.setattr(make_book, "render", lambda *_, **__: pytest.fail("rendered all the same"))
    with pytest.raises(SystemExit) as stopped:
        make_book.build(output=tmp_path, jobs=2)
    told = str(stopped.value)
    assert "2 of 3 pages failed" in told and "nowhere.ipynb" in told
    assert "divide.ipynb, cell 3 (`print(1 / n)`): ZeroDivisionError: division by zero" in told
    assert "as far as it got" in told and (runs / "none/divide_broken.unfinished.ipynb").exists()
    assert "1.0" in _page().place(runs).read_text()
    assert "none/divide_broken: failed after" in capsys.readouterr().out
    assert [failure.page for failure in make_book.execute_all((broken, _page()), folder=runs)] == [broken]


def test_long_pages_start_first_and_those_that_read_results_after_what_they_read(notebooks, tmp_path, capsys):
    _notebook(notebooks, "measure", "import time; time.sleep(0.5)")
    _notebook(
        notebooks, "read", f"assert __import__('pathlib').Path({str(tmp_path / 'runs/none/measure.ipynb')!r}).exists()"
    )
    order = [
        _page(seconds=5),
        _page("read", seconds=90, after=("measure",)),
        _page("measure", seconds=1),
        _page(variant="long", seconds=50),
    ]
    assert make_book.execute_all(order, folder=tmp_path / "runs", jobs=2) == []
    lines = capsys.readouterr().out.splitlines()
    started = [line.removesuffix(": started") for line in lines if line.endswith("started")]
    assert started[:2] == ["none/measure", "none/divide_long"]
    finished = next(at for at, line in enumerate(lines) if line.startswith("none/measure: done"))
    assert lines.index("none/read: started") > finished


def test_kernels_draw_for_the_book_with_one_thread_each(notebooks, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("AVSINK_BOOK", raising=False)
    _notebook(notebooks, "look", "import os; print([os.environ[k] for k in ('AVSINK_BOOK', 'OMP_NUM_THREADS')])")
    page = _page("look")
    assert make_book.execute_all([page], folder=tmp_path, jobs=make_book._cores()) == []
    assert "['1', '1']" in page.place(tmp_path).read_text()
    assert os.environ["OMP_NUM_THREADS"] == "7" and "AVSINK_BOOK" not in os.environ


def test_ctrl_c_stops_all_pages_and_leaves_no_process(notebooks, tmp_path):
    sign = tmp_path / "started"
    _notebook(notebooks, "wait", f"open({str(sign)!r}, 'a').write('x')", "import time; time.sleep(300)")
    program = f"""
import sys; sys.path.insert(0, {str(Path(make_book.__file__).parent)!r})
from pathlib import Path
import pages; pages.NOTEBOOKS = Path({str(notebooks)!r})
import make_book
make_book.PAGES = [pages.Page(notebook="wait", model=model) for model in ("a", "b")]
build = make_book.build
make_book.build = lambda jobs: build(output=Path({str(tmp_path)!r}), jobs=2)
sys.argv = ["make_book.py"]
raise SystemExit(make_book.main())
"""
    # In a session of its own, as a terminal's foreground job is: the signal must not reach pytest.
    running = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    until = time.monotonic() + 120
    while not (sign.exists() and sign.stat().st_size == 2):
        assert running.poll() is None and time.monotonic() < until
        time.sleep(0.1)
    kernels = psutil.Process(running.pid).children(recursive=True)
    assert len(kernels) == 2
    os.killpg(running.pid, signal.SIGINT)
    said, _ = running.communicate(timeout=60)
    assert running.returncode == 130 and "stopped; what is finished is kept" in said
    assert psutil.wait_procs(kernels, timeout=30)[1] == []
    assert list(tmp_path.rglob("a/wait.ipynb")) == []


def test_pages_are_rendered_again_only_if_something_changed(tmp_path, monkeypatch, capsys):
    """jupyter-book itself is replaced here by a program that counts how often it was called."""
    calls = []

    def fake(command, **_):
        calls.append(command)
        html = command[command.index("--path-output") + 1] / "_build/html"
        for name in make_book.contents():
            (html / name).parent.mkdir(parents=True, exist_ok=True)
            (html / f"{name}.html").write_text("page")
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(make_book.subprocess, "run", fake)
    runs = tmp_path / "runs"
    for page in pages.PAGES:
        page.place(runs).parent.mkdir(parents=True, exist_ok=True)
        page.place(runs).write_text("{}")
    html = make_book.render(tmp_path, runs=runs)
    assert make_book.render(tmp_path, runs=runs) == html and len(calls) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "pages: unchanged"
    pages.PAGES[0].place(runs).write_text('{"changed": 1}')
    make_book.render(tmp_path, runs=runs)
    assert len(calls) == 2
    (html / "book/methods.html").unlink()
    make_book.render(tmp_path, runs=runs)
    assert len(calls) == 3
    monkeypatch.setattr(make_book.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 1))
    pages.PAGES[0].place(runs).write_text('{"changed": 2}')
    for _ in range(2):  # a rendering that failed is never taken for a finished one
        with pytest.raises(SystemExit, match="not rendered without a warning"):
            make_book.render(tmp_path, runs=runs)


def test_contents_list_every_page_and_no_other():
    listed = {name for name in make_book.contents() if name.startswith("book/runs/")}
    assert listed == {f"book/runs/{page.name}" for page in pages.PAGES}


def test_what_a_page_reads_is_measured_on_another_page():
    for page in pages.PAGES:
        assert page.source.exists()
        known = {other.notebook for other in pages.PAGES if other.model == page.model and other is not page}
        assert set(page.after) <= known


def test_vega_is_of_the_version_that_altair_writes_for():
    bundle = make_book.vega_bundle()
    assert bundle.startswith("(() => {") and bundle.rstrip().endswith("})();"), "its names must not leak into the page"
    assert "define.amd" not in bundle
    assert len(bundle) > 500_000


def test_small_notebooks_hold_the_pages_parameters_and_the_sizes_for_tests(tmp_path):
    written = pages.write_small(tmp_path)
    assert written == [page.place(tmp_path) for page in pages.PAGES] and not any(map(pages.executed, written))
    control = next(page for page in pages.PAGES if page.parameters.get("n_samples"))
    notebook = nbformat.read(control.place(tmp_path), as_version=4)
    at = next(at for at, cell in enumerate(notebook.cells) if "injected-parameters" in cell.metadata.get("tags", ()))
    assert "parameters" in notebook.cells[at - 1].metadata.tags
    given: dict = {}
    exec(notebook.cells[at].source, given)
    source = nbformat.read(control.source, as_version=4)
    mock = pages.parameters_cell(source).metadata["nbmake"]["mock"]
    assert {name: given[name] for name in mock} == mock and mock["n_samples"] < control.parameters["n_samples"]
    assert given["model"] == control.model and Path(given["results"]).parent == tmp_path
    assert notebook.cells[0].source.splitlines()[0].endswith(f"({control.variant})")

"""The book: run the notebooks whose inputs changed, several at a time, then render the pages.

    python book/scripts/make_book.py                 # what `make book` does: _build/html/index.html
    python book/scripts/make_book.py --jobs 1        # one page at a time, with all cores
    python book/scripts/make_book.py --small         # only write the pages' notebooks in small, for `pytest --nbmake`

1. Every page of `pages.PAGES` is executed by papermill into `book/runs/<model>/<notebook>.ipynb`. A page is skipped if
   nothing that could change it has changed: the notebook, the package, the embedded data, the pinned versions, the
   parameters. Their hash is kept in the executed notebook.
2. Pages run side by side, one process a core with one thread each: a model as small as `tiny-omni` does not gain from
   two. Long ones start first. A page that reads what another measures starts after it.
3. A page that fails does not stop the others. All failures are listed at the end, and nothing is rendered.
4. jupyter-book renders with execution off, and every warning is an error. This is skipped, too, if its inputs are those
   of the last time. Vega, which draws the charts, is written from the installed package into one local file.

Ctrl-C stops all pages. Those that are finished are kept, and so are the finished samples of the others.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import altair as alt
import nbformat
import papermill
import psutil
import vl_convert
import yaml
from pages import PAGES, ROOT, Page, parameters, retitle, write_small
from papermill.exceptions import PapermillExecutionError

__all__ = ["Failure", "build", "contents", "execute", "execute_all", "render", "to_html", "vega_bundle"]

INPUTS = ("avsink/**/*.py", "data/**/*", "constraints.txt")  # besides the notebook: what its numbers depend on
RUNS = Path("book/runs")
MEMORY = 1.5e9  # bytes that a page may need
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A page whose notebook did not run to its end.

    Attributes:
        cell: the number of the cell in which it stopped, as the notebook counts; None if no cell is to blame.
        source: the first line of that cell.
        error: name and message of the error.
    """

    page: Page
    cell: int | None = None
    source: str = ""
    error: str

    def __str__(self) -> str:
        where = "" if self.cell is None else f", cell {self.cell} (`{self.source}`)"
        return f"{self.page.name}: notebooks/{self.page.source.name}{where}: {self.error}"


def build(*, output: Path = ROOT, jobs: int | None = None) -> Path:
    """Execute what is stale, render, and return the folder of HTML pages, `output/_build/html`.

    Raises SystemExit if a page fails or the rendering gives a warning.
    """
    failures = execute_all(PAGES, folder=output / RUNS, jobs=jobs)
    if failures:
        listed = "\n".join(f"- {failure}\n  as far as it got: {_unfinished(failure, output)}" for failure in failures)
        many = f"{len(failures)} of {len(PAGES)} pages failed" if len(failures) > 1 else "one page failed"
        raise SystemExit(f"\n{many}, so the book was not rendered:\n{listed}")
    return render(output, runs=output / RUNS)


def execute_all(pages: Sequence[Page], *, folder: Path, jobs: int | None = None) -> list[Failure]:
    """Execute the pages that are stale into `folder`, several at a time, and return those that failed.

    Args:
        jobs: how many at a time; by default one a core, or fewer where memory is short. Each gets its part of the cores
            as threads.
    """
    waiting = []
    for page in sorted(pages, key=lambda page: _seconds_until_all_done(page, pages), reverse=True):
        if _is_current(page, page.place(folder)):
            print(f"{page.name}: unchanged", flush=True)
        else:
            waiting.append(page)
    if not waiting:
        return []

    jobs = jobs or max(1, min(_cores(), int(psutil.virtual_memory().available // MEMORY)))
    total, failures, running = len(waiting), [], {}
    # Threads suffice: the work is done by the notebooks' kernels, which are processes of their own.
    with ThreadPoolExecutor(jobs) as pool, _environment(threads=max(1, _cores() // jobs)):
        try:
            while waiting or running:
                busy = [*waiting, *running.values()]
                ready = [page for page in waiting if not any(_reads(page, other) for other in busy)]
                for page in ready[: jobs - len(running)]:
                    waiting.remove(page)
                    print(f"{page.name}: started", flush=True)
                    running[pool.submit(_timed, page, page.place(folder))] = page
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    page, (seconds, failure) = running.pop(future), future.result()
                    at = f"({total - len(waiting) - len(running)} of {total})"
                    print(f"{page.name}: {'failed after' if failure else 'done in'} {seconds:.0f} s {at}", flush=True)
                    failures += [failure] if failure else []
        except KeyboardInterrupt:
            _stop(running)
            raise
    return failures


def execute(page: Page, place: Path) -> None:
    """Execute a page's notebook into `place`. One that fails leaves `place` as it was.

    Raises whatever papermill raises.
    """
    started = time.monotonic()
    place.parent.mkdir(parents=True, exist_ok=True)
    unfinished = place.with_suffix(".unfinished.ipynb")
    papermill.execute_notebook(
        page.source,
        unfinished,
        parameters=parameters(page, nbformat.read(page.source, as_version=4)),
        progress_bar=False,
        extra_arguments=["--log-level=ERROR"],  # the kernel's own remarks about its transport are not for the reader
    )
    executed = nbformat.read(unfinished, as_version=4)
    retitle(page, executed)
    executed.metadata["avsink"] = {
        "fingerprint": _fingerprint(page),
        "seconds": round(time.monotonic() - started, 1),
    }
    nbformat.write(executed, unfinished)
    os.replace(unfinished, place)


def render(output: Path, *, runs: Path) -> Path:
    """Render the book with the executed notebooks in `runs` into `output/_build/html`, unless it is there already."""
    sources, html = output / "_build/sources", output / "_build/html"
    _gather(sources, runs=runs)
    fingerprint, mark = _fingerprint_of_rendering(sources), html / ".fingerprint"
    there = all((html / f"{name}.html").is_file() for name in contents())
    if there and mark.is_file() and mark.read_text() == fingerprint:
        print("pages: unchanged", flush=True)
        return html
    mark.unlink(missing_ok=True)
    started = time.monotonic()
    to_html(sources, output)
    mark.write_text(fingerprint)
    print(f"pages: rendered in {time.monotonic() - started:.0f} s", flush=True)
    return html


def to_html(sources: Path, output: Path) -> None:
    """Make HTML pages in `output/_build/html` of a book's sources: its pages, `_config.yml`, `_toc.yml`, `_static`."""
    (sources / "book/_static/vega.js").write_text(vega_bundle())
    jupyter_book = Path(sys.executable).with_name("jupyter-book")
    options = ["--path-output", output, "--all", "--quiet", "-W", "-n", "--keep-going"]
    if subprocess.run([jupyter_book, "build", sources, *options]).returncode:
        raise SystemExit("the pages were not rendered without a warning; what jupyter-book says above is the reason")


def contents() -> list[str]:
    """Return the names of all pages in the table of contents, such as `book/methods`."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    return [toc["root"], *(chapter["file"] for part in toc["parts"] for chapter in part["chapters"])]


def vega_bundle() -> str:
    """Return Vega, Vega-Lite and vega-embed, of the version that Altair writes for, as one script.

    It is wrapped in a function because it declares top-level names (`_` among them) that Sphinx's own search scripts
    declare too; a clash would leave every chart blank.
    """
    version = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    return f"(() => {{\n{vl_convert.javascript_bundle(vl_version=version)}\n}})();\n"


def _seconds_until_all_done(page: Page, pages: Sequence[Page]) -> int:
    """The page's seconds and those of the longest chain of pages that wait for it."""
    later = [_seconds_until_all_done(other, pages) for other in pages if _reads(other, page)]
    return page.seconds + max(later, default=0)


def _reads(page: Page, other: Page) -> bool:
    return page.model == other.model and other.notebook in page.after


def _is_current(page: Page, place: Path) -> bool:
    try:
        metadata = json.loads(place.read_bytes())["metadata"]  # no validation by nbformat: pages are large
        return metadata.get("avsink", {}).get("fingerprint") == _fingerprint(page)
    except FileNotFoundError:
        return False


def _fingerprint(page: Page) -> str:
    notebook = hashlib.sha256(page.source.read_bytes()).hexdigest()
    facts = [notebook, _inputs_fingerprint(), page.model, page.variant, page.parameters]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


@cache
def _inputs_fingerprint() -> str:
    files = {path for pattern in INPUTS for path in ROOT.glob(pattern) if path.is_file()}
    return _hash_of_files([path for path in files if "__pycache__" not in path.parts], base=ROOT)


def _fingerprint_of_rendering(sources: Path) -> str:
    """A hash of the gathered sources and of all installed packages with their versions."""
    packages = sorted(path.name for path in Path(sysconfig.get_path("purelib")).glob("*.dist-info"))
    files = _hash_of_files([path for path in sources.rglob("*") if path.is_file()], base=sources)
    return hashlib.sha256("\n".join([files, *packages]).encode()).hexdigest()


def _hash_of_files(paths: Sequence[Path], *, base: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(f"{path.relative_to(base)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _gather(sources: Path, *, runs: Path) -> None:
    """Copy what the pages are made of, and nothing else: Sphinx reads whatever lies about, .venv included."""
    shutil.rmtree(sources, ignore_errors=True)
    shutil.copytree(ROOT / "book", sources / "book", ignore=shutil.ignore_patterns("runs", "small", "scripts"))
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy(ROOT / name, sources / name)
    for page in PAGES:
        place = page.place(sources / RUNS)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(page.place(runs), place)


def _timed(page: Page, place: Path) -> tuple[float, Failure | None]:
    """Execute a page; its seconds, and its failure if it failed."""
    started, failure = time.monotonic(), None
    try:
        execute(page, place)
    except PapermillExecutionError as error:
        first = next((line for line in error.source.splitlines() if line.strip()), "")
        failure = Failure(page=page, cell=error.exec_count, source=first, error=f"{error.ename}: {error.evalue}")
    except Exception as error:  # the kernel died, the notebook cannot be read: whatever it is, the other pages go on
        failure = Failure(page=page, error=f"{type(error).__name__}: {error}")
    return time.monotonic() - started, failure


def _unfinished(failure: Failure, output: Path) -> Path:
    return failure.page.place(output / RUNS).with_suffix(".unfinished.ipynb")


@contextlib.contextmanager
def _environment(*, threads: int) -> Iterator[None]:
    """What kernels inherit: they draw for the book's own renderer, with so many threads each."""
    values = {"AVSINK_BOOK": "1", **dict.fromkeys(THREADS, str(threads))}
    before = {name: os.environ.get(name) for name in values}
    os.environ |= values
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _stop(running: Mapping[Future, Page]) -> None:
    """End the kernels. The threads that wait for them then end by themselves."""
    while not all(future.done() for future in running):
        for kernel in psutil.Process().children():
            with contextlib.suppress(psutil.NoSuchProcess):
                kernel.terminate()
        wait(running, timeout=0.2)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python book/scripts/make_book.py", description="Run the notebooks and render the book."
    )
    parser.add_argument("--jobs", type=int, metavar="N", help="pages at a time; by default one a core")
    parser.add_argument("--small", action="store_true", help="only write the notebooks in small, into book/small")
    arguments = parser.parse_args()
    if arguments.small:
        print(f"{len(write_small())} notebooks written; `pytest --nbmake --overwrite book/small` runs them")
        return 0
    os.chdir(ROOT)
    started = time.monotonic()
    try:
        html = build(jobs=arguments.jobs)
    except KeyboardInterrupt:
        print("stopped; what is finished is kept, and the next run goes on from there")
        return 130
    print(f"the book is at {html / 'index.html'} ({time.monotonic() - started:.0f} s)")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

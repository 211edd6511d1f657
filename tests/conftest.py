"""Shared fixtures: an untrained model saved like any checkpoint, and small clips of every awkward kind.

`make test` gives each core a process (pytest-xdist) and each process whole files, so that what the tests of a file
share is set up once. One thread each is enough for models of this size.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from browser import chromium  # noqa: F401  # one for all files: a second one cannot be started beside it
from pages import PAGES, SMALL
from samples import write_clip, write_image

os.environ.setdefault("OMP_NUM_THREADS", "1")  # of torch, which no test has imported yet, and of notebooks' kernels

# Files that take long start early, so that no core is left with one at the end. `test_book.py` needs all notebooks
# executed, which they are once the file before it has begun.
LONG = (
    "papers/test_taught_hubs.py",
    "test_book.py",
    "test_hostile_page.py",
    "results/test_over_samples.py",
    "test_make_book.py",
    "test_benchmarks.py",
    "toyworld/test_held_out.py",
    "test_wheel.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the notebooks of the small book first, the long ones before the short ones, and the long files after them."""
    notebooks = {page.place(SMALL): -page.seconds for page in PAGES}
    files = {Path(__file__).parent / name: at for at, name in enumerate(LONG)}

    def place(item: pytest.Item) -> tuple[int, int]:
        if item.path in notebooks:
            return 0, notebooks[item.path]
        return (1, files[item.path]) if item.path in files else (2, 0)

    items.sort(key=place)


@pytest.fixture(scope="session")
def clips(tmp_path_factory) -> Path:
    """A folder of small files: clip.mp4 (4 s), silent.mp4, sound.mp4 (no picture), odd.mp4, grey images and more."""
    folder = tmp_path_factory.mktemp("clips")
    write_clip(folder / "clip.mp4")
    write_clip(folder / "silent.mp4", sound=0)
    write_clip(folder / "sound.mp4", picture=False)
    write_clip(folder / "odd.mp4", seconds=2.5)
    write_clip(folder / "short_sound.mp4", sound=3.3)
    write_clip(folder / "long_sound.mp4", sound=6.7)
    write_clip(folder / "one_frame.mp4", seconds=0.125, sound=0.5)
    write_clip(folder / "five_minutes.mp4", seconds=300, fps=1, size=32, sound=1)
    write_clip(folder / "front.mp4", options={"movflags": "faststart"})
    write_clip(folder / "clip.mkv")
    for k in range(4):
        write_image(folder / f"image{k}.png", level=40 + 50 * k)
        write_clip(folder / f"sound{k}.mp4", seconds=1.0 + 0.5 * k, picture=False)
    (folder / "empty.mp4").touch()
    whole = (folder / "clip.mp4").read_bytes()
    (folder / "truncated.mp4").write_bytes(whole[: len(whole) // 2])
    return folder


@pytest.fixture(scope="session")
def tiny_omni():
    """The teaching model, loaded once for all tests that only read from it."""
    import avsink

    return avsink.load("tiny-omni", device="cpu", check=False)


@pytest.fixture(scope="session")
def untrained(tmp_path_factory) -> Path:
    """An untrained tiny-omni, saved as an ordinary folder."""
    from avsink.testing.untrained_omni import build_model, build_processor, build_tokenizer

    folder = tmp_path_factory.mktemp("models") / "untrained"
    tokenizer = build_tokenizer()
    build_processor(tokenizer).save_pretrained(folder)
    build_model(tokenizer, layers=3).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def model(untrained):
    """That folder, loaded as any other."""
    import avsink

    return avsink.load(untrained, device="cpu")

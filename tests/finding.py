"""A finding as a process that can be killed: python finding.py MODEL CLIPS RESULTS LOG

Writes a line into LOG whenever it begins to compute a sample, and prints the table of rows as JSON when it is done.
"""

import sys
import time
from pathlib import Path

import avsink
from avsink.engine.run import clean_run
from avsink.instruments.knockout import sweep
from avsink.results.over_samples import measure_into
from avsink.results.store import ResultStore
from avsink.sample import Media, Sample, Text

CLIPS = ("clip.mp4", "odd.mp4", "truncated.mp4", "front.mp4", "long_sound.mp4", "absent.mp4", "clip.mkv")


def sample(path: Path, answer: str = "A") -> Sample:
    parts = (Media(path=path, kind="video"), Text(text="\nWhat makes the sound?"))
    return Sample(id=path.name, task="toy", category="mixed", parts=parts, options=("bell", "dog"), answer=answer)


def answered(model, path: Path) -> Sample:
    """The sample with the letter that the untrained model prefers; `front.mp4` with the other one."""
    try:
        predicted = clean_run(model, model.prepare(sample(path))).predicted
    except avsink.SampleError:
        return sample(path)
    return sample(path, {"A": "B", "B": "A"}[predicted] if path.name == "front.mp4" else predicted)


def logged(model, sample, *, k: int, log: str, delay: float):
    """An instrument that says when it begins."""
    with Path(log).open("a") as lines:
        print(sample.id, file=lines)
    rows = sweep(model, sample, k=k)
    time.sleep(delay)  # so that a kill finds it at work
    return rows


def run(folder: Path, clips: Path, root: Path, log: Path, *, delay: float = 0.0):
    model = avsink.load(folder, device="cpu")
    store = ResultStore("finding", model=model.name, identity={"k": 1}, root=root)
    samples = [answered(model, clips / name) for name in CLIPS]
    return measure_into(store, samples, lambda sample: logged(model, sample, k=1, log=log, delay=delay))


if __name__ == "__main__":
    print(run(*map(Path, sys.argv[1:5]), delay=0.5).rows.to_json())

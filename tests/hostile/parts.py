"""Stored rows: whatever happens to the files of a result store, the rows are those of a clean run.

`setup` measures a few samples into a store: rows of several kinds, a sample left out for good and one that cannot be
used. A trial copies that store and damages it. Then it measures again, and compares what it gets with what the samples
themselves give without a store:

- rows and reasons are the same, bit by bit;
- each damaged file is named in a warning;
- what was not damaged is not computed again;
- the same measurement once more reads everything, and warns of nothing.

Where nothing could be kept, or two samples have one id, the run must end with an error that names the folder or the id,
and no sample computed.
"""

from __future__ import annotations

import hashlib
import random
import shutil
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from hostile.damages import IDENTITY, MUTATIONS, World
from hostile.trial import Suite, Verdict, refused

from avsink.results import over_samples, provenance
from avsink.results.store import ResultStore
from avsink.sample import Media, Sample, SampleError, Unmeasured

IDS = ("a", "A", "clips/07: who?", "猫", "x" * 300, "b", "unmeasured", "unusable")


def compute(sample: Sample) -> pd.DataFrame:
    """The rows of a sample, a function of its id and the content of its medium."""
    if sample.id == "unmeasured":
        raise Unmeasured(sample.id, "answered wrongly")
    if sample.id == "unusable":
        raise SampleError(sample.id, "cut off; überall")
    content = sample.media[0].path.read_bytes()
    rng = np.random.default_rng(list(hashlib.sha256(sample.id.encode() + content).digest()))
    n = int(rng.integers(1, 120))
    rows = pd.DataFrame({"sample": sample.id, "layer": np.arange(n), "delta_p": rng.normal(size=n)})
    rows.loc[rng.random(n) < 0.1, "delta_p"] = np.nan
    if len(sample.id) > 1:
        rows = rows.assign(pathway=rng.choice(["Vidéo↛Last", "Audio↮Video", ""], n), correct=rng.random(n) < 0.5)
    return rows


def setup(folder: Path) -> tuple[Path, list[Sample]]:
    """Make the samples, and two stores of different keys."""
    provenance.commit = lambda: "unknown"  # asks git, which takes longer than all else
    over_samples.tqdm = lambda samples, **_: samples
    samples = []
    for number, id in enumerate(IDS):
        path = folder / f"{number}.mp4"
        path.write_bytes(bytes([number]) * 100)
        samples.append(
            Sample(
                id=id,
                task="t",
                category="even" if number % 2 else "odd",
                parts=(Media(path=path, kind="video"),),
                truth={"n": number},
            )
        )
    for identity in (IDENTITY, IDENTITY | {"weights": "10"}):
        store = ResultStore("hostile", model="tiny", identity=identity, root=folder / "kept")
        for part in over_samples.measure_into(store, samples, compute).samples:
            assert store.rows(part) is not None or store.excuse(part) is not None
    return folder, samples


def truth(samples: list[Sample]) -> tuple[pd.DataFrame, dict[str, str]]:
    """What the samples give without a store."""
    tables, reasons = [], {}
    for sample in {sample.id: sample for sample in samples}.values():
        try:
            tables.append(compute(sample))
        except SampleError as error:
            reasons[sample.id] = error.reason
    return pd.concat(tables, ignore_index=True), reasons


def trial(shared: tuple[Path, list[Sample]], rng: random.Random, folder: Path) -> Verdict:
    """Damage a copy of the store, and measure again, twice."""
    kept, samples = shared
    shutil.copytree(kept / "kept", folder / "kept")
    world = World(root=folder / "kept", samples=list(samples))
    MUTATIONS[int(folder.name) % len(MUTATIONS)](world, rng)
    what = "; ".join(world.done)
    two = world.writers > 1
    computed: list[str] = []

    def counted(sample):
        computed.append(sample.id)
        if world.writers > 1:  # while the first sample is computed, another process measures the same
            world.writers -= 1
            over_samples.measure_into(world.store(), world.samples[:: rng.choice([1, -1])], compute)
        return compute(sample)

    def measured():
        computed.clear()
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            done = over_samples.measure_into(world.store(), world.samples, counted)
        return done, "\n".join(str(warning.message) for warning in said)

    with world.disk:
        try:
            done, said = measured()
        except (OSError, ValueError) as error:
            if computed or (world.kept and not world.clash):
                return wrong(what, f"an error for no reason, or after computing {computed}: {error}")
            return refused(error, what, names=[repr(world.clash) if world.clash else str(world.files.folder)])
    if world.clash or not world.kept:
        return wrong(what, "nothing was said")

    rows, reasons = truth(world.samples)
    try:
        pd.testing.assert_frame_equal(done.rows, rows, check_exact=True)
    except AssertionError as error:
        return wrong(what, f"other rows: {error}")
    if dict(zip(done.left_out["sample"], done.left_out["reason"], strict=True)) != reasons:
        return wrong(what, f"other reasons: {done.left_out}")
    if missing := [str(path) for path in world.damaged if str(path) not in said]:
        return wrong(what, f"not named: {missing}; said: {said}")
    expected = world.again | (set() if world.read_only else {"unusable"})
    others = [] if two else set(computed) ^ expected
    if others or len(computed) != len(set(computed)):
        return wrong(what, f"computed {computed}, and not {sorted(expected)}")
    if not world.read_only:
        done, again = measured()
        if computed != ["unusable"] or not done.rows.equals(rows) or "damaged" in again:
            return wrong(what, f"the second run computed {computed} and said {again}")
    return Verdict(outcome="named" if said else "right", what=what, said=said[:300])


def wrong(what: str, said: str) -> Verdict:
    """What no trial may come to."""
    return Verdict(outcome="silently wrong", what=what, said=said)


SUITE = Suite(name="parts", trials=2000, setup=setup, trial=trial)

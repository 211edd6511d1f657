"""What a trial of `parts` does to a store: a function for each kind of damage, which notes what must come of it."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from disks import refusing

from avsink.results.store import BLANK, ResultStore
from avsink.sample import Media, Sample

__all__ = ["IDENTITY", "MUTATIONS", "World"]

IDENTITY = {"instrument": "hostile", "settings": {"k": 3, "name": "Vidéo↛Last"}, "weights": "0f"}
TEXTS = (
    "",
    "{}",
    "[]",
    "null",
    "0",
    "[" * 100_000,
    "\0" * 4096,
    "PAR1",
    "PAR1PAR1",
    BLANK,
    '{"seal": 1}',
    "version https",
)


@dataclass
class World:
    """A store and what a trial did to it."""

    root: Path
    samples: list[Sample]
    damaged: set[Path] = field(default_factory=set)  # files that must be named
    again: set[str] = field(default_factory=set)  # ids that have to be computed again
    done: list[str] = field(default_factory=list)  # in words
    disk: ExitStack = field(default_factory=ExitStack)  # refusals, while it is measured
    kept: bool = True  # whether something can be kept
    read_only: bool = False
    writers: int = 1
    clash: str = ""  # an id that two different samples have

    def __post_init__(self):
        self.files = self.store()

    def store(self) -> ResultStore:
        """The store, opened anew."""
        return ResultStore("hostile", model="tiny", identity=IDENTITY, root=self.root)

    def path(self, sample: Sample) -> Path:
        """The file of a sample."""
        return self.files._excuse(sample) if sample.id.startswith("un") else self.files._part(sample)

    def whole(self, prefix: str = "") -> list[Sample]:
        """The samples whose files are as they were; all of them, or those whose file is in this folder."""
        found = [sample for sample in self.samples if sample.id not in self.again]
        return [sample for sample in found if self.path(sample).parent.name.startswith(prefix)]

    def damage(self, sample: Sample, what: str) -> Path:
        """Note that the file of the sample is damaged."""
        self.damaged.add(path := self.path(sample))
        self.again.add(sample.id)
        self.done.append(f"{what} of {sample.id[:20]}")
        return path


def flip(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(bytes(content))


def flipped_part(world, rng):
    flip(world.damage(rng.choice(world.whole("samples")), "one bit of the part"), rng)


def flipped_excuse(world, rng):
    flip(world.damage(rng.choice(world.whole("left_out")), "one bit of the excuse"), rng)


def flipped_identity(world, rng):
    """Some bits of JSON say nothing, and nothing reads a record."""
    path = rng.choice([world.files.folder / "provenance.json", *world.files.folder.glob("records/*.json")])
    same = False
    if rng.random() < 0.6:
        flip(path, rng)
        with suppress(ValueError):
            same = json.loads(path.read_bytes()) == IDENTITY
    else:
        exchange(path, rng)
    world.done.append(f"{path.name} damaged")
    world.damaged |= {path} if path.name == "provenance.json" and not same else set()


def run_of_bytes(world, rng):
    path = world.damage(rng.choice(world.whole()), "a run of bytes")
    content = path.read_bytes()
    start, length = rng.randrange(len(content)), rng.choice([1, 4, 64, 512, 4096])
    filler = rng.choice([bytes(length), rng.randbytes(length), b"\xff" * length])
    changed = content[:start] + filler[: len(content) - start] + content[start + length :]
    path.write_bytes(changed if changed != content else content[:-1])


def other_length(world, rng):
    path = world.damage(rng.choice(world.whole()), "the length")
    content = path.read_bytes()
    path.write_bytes(
        rng.choice(
            [
                content[: rng.randrange(len(content))],
                content[rng.randrange(1, len(content)) :],
                content + rng.randbytes(rng.randint(1, 100)),
                content * 2,
            ]
        )
    )


def swapped(world, rng):
    """Two files change places, or one is copied or moved over another."""
    excuses = world.whole("left_out")
    samples = excuses if len(excuses) == 2 and rng.random() < 0.3 else rng.sample(world.whole("samples"), 2)
    how = rng.choice(["exchanged", "copied", "moved"])
    one, other = (world.path(sample) for sample in samples)
    mine, theirs = one.read_bytes(), other.read_bytes()
    world.damage(samples[0], how)
    one.write_bytes(theirs)
    if how == "exchanged":
        world.damage(samples[1], how)
        other.write_bytes(mine)
    elif how == "moved":
        other.unlink()
        world.again.add(samples[1].id)


def of_another_key(world, rng):
    path = world.damage(rng.choice(world.whole()), "another key's file in the place")
    (other,) = (key for key in world.files.folder.parent.iterdir() if key != world.files.folder)
    shutil.copy(other / path.parent.name / path.name, path)


def other_rows(world, rng):
    """A sound file, with the seal of the right one or none, that holds something else."""
    sample = rng.choice(world.whole("samples"))
    path = world.damage(sample, "other rows in a sound part")
    seal = pq.read_metadata(path).metadata[b"seal"]
    table = pq.read_table(path)
    number = table.column_names.index("delta_p")
    changes = {
        "none": lambda: table.slice(0, 0),
        "one less": lambda: table.slice(0, table.num_rows - 1),
        "one more": lambda: pa.concat_tables([table, table.slice(0, 1)]),
        "renamed column": lambda: table.rename_columns(["sample", "depth", *table.column_names[2:]]),
        "no column": lambda: table.drop_columns(["layer"]),
        "another id": lambda: table.set_column(0, "sample", pa.array(["b2"] * table.num_rows)),
        "zeros": lambda: table.set_column(number, "delta_p", pa.array(np.zeros(table.num_rows))),
    }
    name = rng.choice(list(changes))
    world.done.append(name)
    table = changes[name]()
    if rng.random() < 0.3:
        table.to_pandas().to_parquet(path)
        return
    with pq.ParquetWriter(path, table.schema, compression=rng.choice(["snappy", "none"])) as file:
        file.write_table(table)
        file.add_key_value_metadata(rng.choice([{"seal": seal}, {"seal": BLANK}, {}]))


def exchange(path: Path, rng: random.Random, things: tuple[str, ...] = ()) -> str:
    """Put something else into the place of a file."""
    thing = rng.choice(things or ("text", "folder", "link", "pipe"))
    path.unlink()
    match thing:
        case "text":
            path.write_text(rng.choice(TEXTS))
        case "folder":
            path.mkdir()
            if rng.random() < 0.5:
                (path / "file").touch()
        case "link":
            target = rng.choice([path, path.name + "2", path.parent, "/dev/zero", "/dev/null", "/", "/proc/self/mem"])
            path.symlink_to(target)
        case "pipe":
            os.mkfifo(path)
        case "socket":
            here = os.getcwd()
            os.chdir(path.parent)  # the name of a socket may have 107 bytes only
            try:
                with socket.socket(socket.AF_UNIX) as listening:
                    listening.bind("s")
            finally:
                os.chdir(here)
            os.rename(path.with_name("s"), path)
    return thing


def thing(*things: str) -> Callable[[World, random.Random], None]:
    def put(world, rng):
        sample = rng.choice(world.whole())
        world.done.append(exchange(world.damage(sample, "another thing in the place"), rng, things))

    return put


def unreadable(world, rng):
    path = world.damage(rng.choice(world.whole()), "no permission to read, or a bad block")
    world.disk.enter_context(refusing(path, rng.choice([errno.EACCES, errno.EIO, errno.EPERM]), what="read"))


def folder_of_the_store(world, rng):
    """A folder is gone, or something else is in its place."""
    name = rng.choice(["samples", "left_out", "records", ""])
    place = world.files.folder / name
    how = rng.choice(["gone", "file", "circle", "nowhere", "pipe"])
    world.done.append(f"{name or 'the key'}: {how}")
    shutil.rmtree(place)
    match how:
        case "file":
            place.touch()
        case "circle":
            place.symlink_to(place)
        case "nowhere":
            place.symlink_to("nothing")
        case "pipe":
            os.mkfifo(place)
    world.again |= {sample.id for sample in world.whole(name)} if name != "records" else set()
    world.kept = how == "gone" or name == "records"


def refuse(world, rng):
    code = rng.choice([errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EDQUOT])
    world.done.append(os.strerror(code))
    world.disk.enter_context(refusing(world.root, code))
    world.read_only = True


def complete_and_read_only(world, rng):
    refuse(world, rng)


def incomplete_and_read_only(world, rng):
    if rng.random() < 0.7:
        rng.choice(FILES)(world, rng)
    else:
        sample = rng.choice(world.whole())
        world.path(sample).unlink()
        world.again.add(sample.id)
        world.done.append(f"{sample.id[:20]} missing")
    refuse(world, rng)
    world.kept = False


def litter_and_clocks(world, rng):
    for path in world.files.folder.rglob("*"):
        if rng.random() < 0.5:
            stamp = rng.choice([0, 1, time.time() - 1e6, time.time() + 1e7, 2**31 + 5])
            os.utime(path, (stamp, stamp))
    for sample in rng.sample(world.samples, 3):
        path = world.path(sample)
        litter = path.with_name(f".{path.name}.{rng.randrange(99999)}-{rng.randrange(16**6):06x}")
        litter.write_bytes(path.read_bytes()[: rng.randrange(200)])
        os.utime(litter, (rng.choice([0, time.time()]),) * 2)
        path.with_name(f".{path.name}.damaged").touch()
    (world.files.folder / "records" / "99991231T235959-1-abcdef.json").write_text("{")
    (world.files.folder / "samples" / "notes.txt").write_text("mine")
    world.done.append("litter and wrong clocks")


def two_writers(world, rng):
    """While the first sample is computed, another process measures the same, after something was damaged."""
    for damage in (flipped_part, *rng.sample(FILES, rng.randrange(3))):
        damage(world, rng)

    world.writers = 2
    world.done.append("two writers")


def other_samples(world, rng):
    """Other media under the same ids, a sample given twice, another sample under a known id."""
    at = rng.randrange(6)
    sample = world.samples[at]
    match rng.choice(["other medium", "moved medium", "other truth", "twice", "clash"]):
        case "other medium":
            path = world.root / "other.mp4"
            path.write_bytes(rng.randbytes(50))
            world.samples[at] = replace(sample, parts=(Media(path=path, kind="video"),))
            world.again.add(sample.id)
            world.done.append("another medium")
        case "moved medium":
            path = world.root / "moved.mp4"
            path.write_bytes(sample.media[0].path.read_bytes())
            world.samples[at] = replace(sample, parts=(Media(path=path, kind="video"),))
            world.done.append("a moved medium")
        case "other truth":
            world.samples[at] = replace(sample, truth={"n": np.arange(2000) * rng.random()})
            world.again.add(sample.id)
            world.done.append("other ground truth")
        case "twice":
            world.samples.append(replace(sample))
            world.done.append("the same sample twice")
        case "clash":
            world.samples.insert(rng.randrange(7), replace(sample, category="another"))
            world.clash = sample.id
            world.done.append("two samples of one id")


FILES = (  # each damages one file, or two
    flipped_part,
    run_of_bytes,
    other_length,
    swapped,
    of_another_key,
    other_rows,
    thing("text"),
    thing("folder"),
    thing("link"),
    thing("pipe", "socket"),
    unreadable,
)
MUTATIONS = (
    *FILES,
    flipped_excuse,
    flipped_identity,
    folder_of_the_store,
    complete_and_read_only,
    incomplete_and_read_only,
    litter_and_clocks,
    two_writers,
    other_samples,
    flipped_part,
)

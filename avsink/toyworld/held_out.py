"""The held-out evaluation set: clips in `data/toyworld`, a manifest that describes them, and how to make more.

``manifest.jsonl`` holds one sample per line, see `avsink.toyworld.manifest`. The set:

| part | samples | content |
|---|---|---|
| mixed | 1,000 | sounding object, fog and noise each drawn from 0.2 to 1: which sense dominates? |
| clean | 100 | sounding object, nothing degraded |
| anchor | 225 | anchor and target, 75 of each direction |
| match | 200 | match the reference, 100 of each direction, from a shared pool of pictures and sounds |
| caption | 80 | captions of clean clips |
| ambiguous | 200 | captions of 200 of the mixed clips |

    python -m avsink.toyworld.held_out --out somewhere --seed 5      # the same mixture, new clips
    python -m avsink.toyworld.held_out --check                       # compare the committed files with their sums
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from avsink import resources
from avsink.sample import Sample, Text
from avsink.toyworld import jobs, prompts
from avsink.toyworld.manifest import MANIFEST, ROOT, read_lines, read_manifest, row_of

__all__ = ["ROOT", "SIZES", "drafts", "problems", "read_manifest", "write_set"]

SEED = 20_261  # of the committed set
SIZES = {"mixed": 1000, "clean": 100, "anchor": 75, "match": 100, "caption": 80, "ambiguous": 200}
"""Number of samples of each part; for `anchor` and `match` per direction."""


def drafts(*, seed: int, sizes: dict[str, int]) -> Iterator[tuple[str, jobs.Draft]]:
    """Yield (part, draft) for the whole set. Each sample has its own random stream, so a smaller set is a subset."""

    def stream(part: str, k: int) -> np.random.Generator:
        return np.random.default_rng([seed, sorted(SIZES).index(part), k])

    for k in range(sizes["mixed"]):
        rng = stream("mixed", k)
        fog, noise = (float(level) for level in rng.uniform(0.2, 1.0, 2).round(3))
        mixed = jobs.sounding_object(rng, id=f"mixed/{k:04d}", fog=fog, noise=noise)
        yield "mixed", mixed
        if k < sizes["ambiguous"]:
            yield "ambiguous", _captioned(mixed, k)
    for k in range(sizes["clean"]):
        yield "clean", jobs.sounding_object(stream("clean", k), id=f"clean/{k:04d}")
    for d, category in enumerate(jobs.DIRECTIONS):
        for k in range(sizes["anchor"]):
            rng = stream("anchor", d * 100_000 + k)
            yield "anchor", jobs.anchor_and_target(rng, id=f"anchor/{d}-{k:04d}", category=category)
    for d, category in enumerate(jobs.MATCHES):
        for k in range(sizes["match"]):
            rng = stream("match", d * 100_000 + k)
            yield "match", jobs.match_the_reference(rng, id=f"match/{d}-{k:04d}", category=category)
    for k in range(sizes["caption"]):
        yield "caption", jobs.caption(stream("caption", k), id=f"caption/{k:04d}")


def _captioned(draft: jobs.Draft, k: int) -> jobs.Draft:
    """The same clip with a request for a caption instead of a question."""
    name = str(draft.sample.truth["object"])
    clip = draft.sample.media[0]
    sample = replace(
        draft.sample,
        id=f"ambiguous/{k:04d}",
        task="caption",
        category="ambiguous",
        parts=(clip, Text(text="\n" + prompts.CAPTION_REQUEST)),
        options=(),
        suffix="",
        answer=None,
        truth=dict(draft.sample.truth) | {"objects": [name], "caption": prompts.caption(name, name)},
    )
    return replace(draft, sample=sample)


def write_set(root: Path, *, seed: int = SEED, sizes: dict[str, int] = SIZES) -> list[Sample]:
    """Render the set in the folder `root` and write its manifest. Existing files are kept."""
    samples, rows = [], []
    total = sum(sizes.values()) + 2 * sizes["anchor"] + sizes["match"]
    for part, draft in tqdm(drafts(seed=seed, sizes=sizes), total=total, desc="rendering the evaluation set"):
        samples.append(draft.write(root))
        files = {str(m.path): _sum(root / m.path) for m in draft.sample.media}
        rows.append(row_of(draft.sample) | {"part": part, "files": files})
    root.mkdir(parents=True, exist_ok=True)
    (root / MANIFEST).write_text(
        "".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows)
    )
    return samples


def problems(root: Path = ROOT) -> list[str]:
    """List the lines that cannot be used, and the files that are missing or differ, one sentence each.

    Raises:
        FileNotFoundError: If there is no manifest.
        ValueError: If it is not a text file in UTF-8.
    """
    lines = read_lines(root)
    found = [f"{line.where}: {line.fault}" for line in lines if line.fault]
    expected: dict[str, str] = {}
    for line in lines:
        expected |= line.files
    for name, digest in expected.items():
        if not (root / name).is_file():
            found.append(f"{name} is missing")
        elif _sum(root / name) != digest:
            found.append(f"{name} is not the file that the manifest describes")
    return found


def _sum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=resources.expanded, default=ROOT)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--check", action="store_true", help="only compare the files with their SHA-256 sums")
    for part, count in SIZES.items():
        parser.add_argument(f"--{part}", type=int, default=count)
    arguments = parser.parse_args()
    if arguments.check:
        found = problems(arguments.out)
        print("\n".join(found) or "every file is as the manifest says")
        raise SystemExit(bool(found))
    samples = write_set(arguments.out, seed=arguments.seed, sizes={part: getattr(arguments, part) for part in SIZES})
    print(f"{len(samples)} samples in {arguments.out}")


if __name__ == "__main__":
    main()

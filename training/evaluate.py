"""What a teaching model can do, measured on the held-out set: ``python -m training.evaluate --json``.

| figure | how |
|---|---|
| `sounding_object_clean` | share of right letters among 20, nothing degraded |
| `audio_dominant`, `video_dominant` | samples of the mixed part with ŷ_av = ŷ_a ≠ ŷ_v, or ŷ_av = ŷ_v ≠ ŷ_a (Hubs) |
| `anchor_and_target` | share of right letters among 4, over all directions and per direction, also when muted |
| `match_the_reference` | share of right letters among 4, per direction |
| `caption_f1`, `caption_hallucinates` | objects named against objects there; share of captions naming an absent one |

An answer is the most probable option letter, without sampling; captions are decoded greedily. Every share comes with
its n and a bootstrap 95 % interval.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable

import numpy as np
import torch
from tqdm.auto import tqdm

from avsink import resources
from avsink.engine.run import clean_run
from avsink.results import bootstrap
from avsink.sample import Sample
from avsink.toyworld.held_out import ROOT, read_manifest
from avsink.toyworld.jobs import DIRECTIONS, MATCHES
from avsink.toyworld.prompts import NAMES

__all__ = ["caption", "evaluate", "objects_in", "predict"]

MUTED = {"av": (), "a": ("video",), "v": ("audio",)}  # the modality that is muted in each of the three runs


def predict(model, sample: Sample, *, mute: Iterable[str] = ()) -> str:
    """The most probable option letter. mute: modalities to mute."""
    return clean_run(model, model.prepare(sample, mute=tuple(mute))).predicted


@torch.inference_mode()
def caption(model, sample: Sample, *, max_new_tokens: int = 16) -> str:
    """The greedy caption."""
    inputs = model.prepare(sample)
    ids = model.hf.generate(
        **{name: tensor for name, tensor in inputs.tensors.items() if name != "position_ids"},
        use_audio_in_video=inputs.use_audio_in_video,
        do_sample=False,
        max_new_tokens=max_new_tokens,
    )
    return model.tokenizer.decode(ids[0, inputs.layout.n :], skip_special_tokens=True)


def objects_in(text: str) -> set[str]:
    """The toy world's objects that a text names."""
    return set(re.findall(r"[a-z]+", text.lower())) & set(NAMES)


def _share(hits: list[bool]) -> dict[str, float]:
    """Mean, 95 % interval and n of a list of hits."""
    values = np.array(hits, dtype=float)[:, None]  # (samples, 1)
    low, high = np.quantile(bootstrap.resampled_means(values), [0.025, 0.975])
    numbers = {"value": values.mean(), "low": low, "high": high}
    return {name: round(float(number), 4) for name, number in numbers.items()} | {"n": len(hits)}


def _f1(named: list[set[str]], there: list[set[str]]) -> float:
    """Micro F1 over distinct objects (as the CHAIR line of work reports it)."""
    right = sum(len(a & b) for a, b in zip(named, there, strict=True))
    return 2 * right / max(1, sum(map(len, named)) + sum(map(len, there)))


def evaluate(model, samples: dict[str, list[Sample]]) -> dict[str, object]:
    """Compute all figures.

    Args:
        model: As returned by `avsink.load`.
        samples: Part of the set -> its samples.

    Returns:
        Name of the figure -> its numbers, as in the table above.
    """

    def answers(part: list[Sample], label: str, mute: Iterable[str] = ()) -> list[str]:
        return [predict(model, sample, mute=mute) for sample in tqdm(part, desc=label, leave=False)]

    def right(part: list[Sample], label: str, mute: Iterable[str] = ()) -> list[bool]:
        return [a == s.answer for a, s in zip(answers(part, label, mute), part, strict=True)]

    figures: dict[str, object] = {}
    for name, mute in MUTED.items():
        suffix = {"av": "", "a": "_sound_alone", "v": "_picture_alone"}[name]
        figures["sounding_object_clean" + suffix] = _share(right(samples["clean"], f"clean, {name}", mute))
        figures["anchor_and_target" + suffix] = _share(right(samples["anchor"], f"anchor, {name}", mute))
    for category in DIRECTIONS + MATCHES:
        part = [s for s in samples["anchor"] + samples["match"] if s.category == category]
        figures[category] = _share(right(part, category))

    av, a, v = (answers(samples["mixed"], f"mixed, {name}", mute) for name, mute in MUTED.items())
    figures["mixed_accuracy"] = _share([y == s.answer for y, s in zip(av, samples["mixed"], strict=True)])
    pairs = list(zip(av, a, v, strict=True))
    figures["audio_dominant"] = {"count": sum(x == y != z for x, y, z in pairs), "n": len(pairs)}
    figures["video_dominant"] = {"count": sum(x == z != y for x, y, z in pairs), "n": len(pairs)}

    for part in ("caption", "ambiguous"):
        texts = [caption(model, sample) for sample in tqdm(samples[part], desc=f"captions, {part}", leave=False)]
        named = [objects_in(text) for text in texts]
        there = [set(sample.truth["objects"]) for sample in samples[part]]
        figures[f"{part}_f1"] = {"value": round(_f1(named, there), 4), "n": len(texts)}
        figures[f"{part}_hallucinates"] = _share([bool(x - y) for x, y in zip(named, there, strict=True)])
        figures[f"{part}_examples"] = texts[:3]
    return figures


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny-omni")
    parser.add_argument("--root", type=resources.expanded, default=ROOT, help="the folder of an evaluation set")
    parser.add_argument("--first", type=int, help="only this many samples of each part and direction")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()

    import avsink

    model = avsink.load(arguments.model)
    samples = {part: read_manifest(arguments.root, part=part)
               for part in ("clean", "anchor", "match", "mixed", "caption", "ambiguous")}  # fmt: skip
    if arguments.first:
        groups = {part: list(dict.fromkeys(s.category for s in found)) for part, found in samples.items()}
        samples = {
            part: [s for c in groups[part] for s in [s for s in found if s.category == c][: arguments.first]]
            for part, found in samples.items()
        }
    figures = {"model": arguments.model} | evaluate(model, samples)
    if arguments.json:
        json.dump(figures, sys.stdout, indent=2, ensure_ascii=False)
        print()
    else:
        for name, figure in figures.items():
            print(f"{name:40s} {figure}")


if __name__ == "__main__":
    main()

"""What the authors of Hubs released, in small: the same folders and schema, two clips a case, made-up numbers."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from clip_sets import STEMS, effect_line, result_line, step1_item, step2_item, write_json

BEFORE, GRIDS, AUDIO = 16, 2, 50  # text before the media; a chunk: grids, then audio tokens
LAYERS, CHUNKS, RESTORED = 4, 3, 28
PEOPLE, SPORTS = STEMS[:2], STEMS[2:4]


@dataclass(frozen=True)
class Made:
    """What a made-up history is made of: the order of its file, and per token (modality, part, offset) and scores."""

    order: list[int]
    places: dict[int, tuple[str, int, int]]
    scores: dict[int, dict[str, list[float]]]

    def listed(self, modality: str) -> list[int]:
        return [token for token in self.order if self.places[token][0] == modality]


def made(seed: int, *, grid: int = 9, share: float = 0.6, chunks: int = CHUNKS) -> Made:
    """Draw the global sinks of a prompt. The last token of each modality is among them, so that some are unread."""
    rng = random.Random(seed)
    places: dict[int, tuple[str, int, int]] = {}
    for chunk in range(chunks):
        video = [("video", chunk * GRIDS + g, k) for g in range(GRIDS) for k in range(grid)]
        places |= dict(enumerate(video + [("audio", chunk, k) for k in range(AUDIO)], start=BEFORE + len(places)))
    last = {modality: max(t for t, place in places.items() if place[0] == modality) for modality in ("video", "audio")}
    taken = {token for token in places if rng.random() < share} | set(last.values())
    block = {token: rng.randrange(4) for token in taken}  # number of layers and the first of them
    order = sorted(taken, key=lambda token: (places[token][0] == "audio", block[token], token))
    scores = {}
    for token in order:
        lean = rng.uniform(0.5, 4) if places[token][0] == "video" else rng.uniform(0.25, 2)
        v = [0.0 if token >= last["video"] else 0.001 * lean * rng.uniform(0.5, 2) for _ in range(LAYERS)]
        a = [0.0 if token >= last["audio"] else 0.001 * rng.uniform(0.5, 2) for _ in range(LAYERS)]
        scores[token] = {
            "mds": [(x - y) / (x + y + 1e-9) for x, y in zip(v, a, strict=True)],
            "v_score": v,
            "a_score": a,
        }
    return Made(order=order, places=places, scores=scores)


def restored(history: Made, modality: str) -> list[int]:
    """The cross-modal half by the rule of the authors' files: by mean MDS in the file's order, the larger half."""
    mean = {token: sum(history.scores[token]["mds"]) / LAYERS for token in history.listed(modality)}
    ranked = sorted(mean, key=lambda token: -mean[token] if modality == "video" else mean[token])
    return sorted(ranked[len(ranked) // 2 :])


def clone(root: Path) -> dict[str, Made]:
    """Write the clone; return the history of each sample."""
    step1, step2 = root / "exp/causal_tracing/step1", root / "exp/causal_tracing/step2"
    lists, found = root / "json_files/causal_tracing", {}
    for case, number, stems, dominated in (("people", 2, PEOPLE, "video"), ("sports", 1, SPORTS, "audio")):
        first = STEMS.index(stems[0])
        alone = {"v": "R", "a": "K"} if case == "people" else {"v": "K", "a": "R"}
        rows, effects = [], []
        for k, stem in enumerate(stems, start=first):
            history = found[f"hubs/{case}/{stem}"] = made(k, grid=9 + k % 2)
            content = {str(token): history.scores[token] for token in history.order}
            write_json(step1 / case / f"av/history/k_divde_2/{stem}_history.json", content)
            rows.append(result_line(k, "av", **alone))
            patched = len(restored(history, dominated)) * RESTORED
            effects.append(
                effect_line(
                    k,
                    layerlist_len=patched,
                    restored_correct_word_prob=0.5 + 0.01 * k,
                    restored_pred="R" if k % 2 else "Is it",
                )
            )
        other = "v" if case == "people" else "a"
        for condition in ("av", other):
            write_json(step1 / case / condition / f"{case}_case_{number}_small.json", rows, lines=True)
        name = f"before_attn_layer0_window50{case}_small.json"
        write_json(step2 / case / "cross_modal_sinkk_divide_2" / name, effects, lines=True)
        raw = {"av": "K\n\nHuman: What?", "v": "R", "a": "R"} | {one: f"{said}." for one, said in alone.items()}
        whole = [step1_item(k, frames=case == "people", **raw) for k in range(first, first + len(stems))]
        write_json(lists / f"step1/{case}_case_{number}.json", whole)
        write_json(lists / f"step1/{case}_case_{number}_small.json", whole[:1])
        write_json(lists / f"step2/{case}.json", [step2_item(first), step2_item(first + 1)])
        write_json(lists / f"step2/{case}_small.json", [step2_item(first, corrupt_corrupt_word_prob=0.64)])
    return found

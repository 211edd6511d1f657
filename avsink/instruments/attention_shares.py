"""Attention is not information (Flow section 3, appendix B; figures 1, 2 and 7, table 1).

For each sample:

1. `allocation`: how the last token shares out its attention among kinds of tokens, layer by layer (figure 1, left);
2. over all samples, `spike`: the layer at which attention to video jumps (layer 31 of 36 in the paper), by a rule;
3. `masking`: from that layer on, media are hidden from the last token or from all text; is the answer still right?
   (table 1)

And for one sample, to be looked at:

4. `maps`: attention maps before and at that layer (figure 1, right);
5. `norms`: how large tokens are, with sinks marked (figures 2 left, and 7); `dimensions`: in which features a sink of
   the system prompt and one of the media are large (figure 2 right).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor

from avsink.engine.interventions import Block
from avsink.engine.observers import LastRow, Maps, Norms, observe
from avsink.engine.run import clean_run
from avsink.sample import Unmeasured

__all__ = ["FIRST", "GROUPS", "MASKS", "OUTLIER", "allocation", "dimensions", "maps", "masking", "norms", "spike"]

GROUPS = ("system", "video", "audio", "user instruction")  # the paper's four kinds; the last is all other text
FIRST = "first video token of each frame"  # inside of video: where the paper finds its sinks
OUTLIER = 5.0  # a token this many times as large as the layer's median is marked, for a model without known sinks
MASKS = {  # rows of table 1: which kinds are hidden, from whom
    "Original causal mask": ((), ()),
    "Mask video for last token": (("video",), ("last",)),
    "Mask video for all text": (("video",), ("text",)),
    "Mask video and audio for all text": (("video", "audio"), ("text",)),
}


def groups(layout) -> dict[str, Tensor]:
    """The kinds of tokens of figure 1, as positions; together they are the prompt."""
    media = torch.cat([layout.system, layout.video, layout.audio])
    everything = torch.arange(layout.n)
    text = everything[~torch.isin(everything, media)]
    return dict(zip(GROUPS, (layout.system, layout.video, layout.audio, text), strict=True))


def allocation(model, sample) -> pd.DataFrame:
    """Shares of the last token's attention, mean over heads: a row per (layer, group).

    Columns: sample, task, category, layer, group, share, tokens. Shares of `GROUPS` sum to 1 in each layer; `FIRST` is
    a part of video.
    """
    inputs = model.prepare(sample)
    found = groups(inputs.layout)
    if len(inputs.layout.frames):
        found[FIRST] = torch.stack([frame[0] for frame in inputs.layout.frames])
    (shares,) = observe(model, inputs, [LastRow(found)])
    return pd.DataFrame(
        [
            (sample.id, sample.task, sample.category, layer, group, float(share), len(found[group]))
            for group, column in shares.items()
            for layer, share in enumerate(column)
        ],
        columns=["sample", "task", "category", "layer", "group", "share", "tokens"],
    )


def spike(shares: pd.DataFrame) -> int:
    """In the upper half of the network, the layer with the greatest rise of video's mean share over the layer before.

    shares: rows of `allocation` over many samples.
    """
    video = shares[shares["group"] == "video"].groupby("layer")["share"].mean()
    if video.empty:
        raise ValueError("no sample has video, so its share cannot rise")
    rise = video.diff()
    return int(rise[rise.index >= (len(video) + 1) // 2].idxmax())


def masking(model, sample, *, first_layer: int) -> pd.DataFrame:
    """Table 1 for one sample: every mask of `MASKS` from `first_layer` to the last. A row a mask.

    Columns: sample, task, category, mask, predicted, correct, chance (of a guess), p (probability of the right letter).
    """
    if not sample.options:
        raise Unmeasured(sample.id, "has no options")
    inputs = model.prepare(sample)
    run = clean_run(model, inputs)
    known = groups(inputs.layout) | {"last": inputs.layout.last}
    known["text"] = torch.cat([known["system"], known["user instruction"]])
    layers = range(first_layer, model.n_layers)
    plans = [
        tuple(Block(known[source], known[target], layers) for source in sources for target in targets)
        for sources, targets in MASKS.values()
    ]
    rows = []
    for mask, probabilities in zip(MASKS, run.replay(plans), strict=True):
        said = {letter: float(run.probability_of(letter, probabilities)) for letter in inputs.letters}
        predicted = max(said, key=said.__getitem__)
        rows.append(
            {
                "sample": sample.id,
                "task": sample.task,
                "category": sample.category,
                "mask": mask,
                "predicted": predicted,
                "correct": float(predicted == sample.answer),
                "chance": 1 / len(sample.options),
                "p": said[sample.answer],
            }
        )
    return pd.DataFrame(rows)


def maps(model, sample, *, layers: Sequence[int], bins: int = 64) -> pd.DataFrame:
    """Attention maps of these layers, mean over heads, in squares of neighbouring tokens: the strongest of each square.

    Columns: layer, query, key (first token of the square), query_stop, key_stop, weight, query_group, key_group.
    """
    inputs = model.prepare(sample)
    (found,) = observe(model, inputs, [Maps(layers, bins=bins)])
    kind = _kinds(inputs.layout)
    size = found.size
    rows = [
        {
            "layer": layer,
            "query": i * size,
            "key": j * size,
            "query_stop": min((i + 1) * size, inputs.layout.n),
            "key_stop": min((j + 1) * size, inputs.layout.n),
            "weight": float(weights[i, j]),
            "query_group": kind[i * size],
            "key_group": kind[j * size],
        }
        for layer, weights in found.weights.items()
        for i in range(len(weights))
        for j in range(i + 1)
    ]
    return pd.DataFrame(rows)


def norms(model, sample, *, layers: Sequence[int]) -> pd.DataFrame:
    """L2 norms of all tokens at the entry of these layers; what counts as a sink says the model card, or `OUTLIER`.

    Columns: layer, position, group, l2, sink (bool), at (its place in its frame or chunk, 0 for the first).
    """
    inputs, card = model.prepare(sample), model.card
    calibrated = card.sink_dims is not None and card.sink_tau is not None
    (found,) = observe(model, inputs, [Norms(card.sink_dims if calibrated else ())])
    kind, place = _kinds(inputs.layout), {}
    for piece in (*inputs.layout.frames, *inputs.layout.audio_chunks):
        place |= {int(position): at for at, position in enumerate(piece)}
    tables = []
    for layer in layers:
        l2 = found["l2"][layer]
        sink = found["phi"][layer] > card.sink_tau if calibrated else l2 > OUTLIER * l2.median()
        tables.append(
            pd.DataFrame(
                {
                    "layer": layer,
                    "position": range(len(l2)),
                    "group": kind,
                    "l2": l2.tolist(),
                    "sink": sink.tolist(),
                    "at": [place.get(position) for position in range(len(l2))],
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def dimensions(model, sample, *, layer: int) -> pd.DataFrame:
    """Size of every feature, at the entry of a layer, of the largest system token and the largest media token.

    Columns: token (which of the two), position, dimension, magnitude |x_d|.
    """
    inputs = model.prepare(sample)
    states = clean_run(model, inputs).states.inputs[layer].float().cpu()  # (N, width)
    layout = inputs.layout
    tables = []
    for token, positions in {
        "largest system token": layout.system,
        "largest media token": torch.cat([layout.video, layout.audio]).sort().values,
    }.items():
        position = int(positions[states[positions].norm(dim=-1).argmax()])
        magnitude = states[position].abs().tolist()
        tables.append(
            pd.DataFrame(
                {"token": token, "position": position, "dimension": range(len(magnitude)), "magnitude": magnitude}
            )
        )
    return pd.concat(tables, ignore_index=True)


def _kinds(layout) -> list[str]:
    kind = [""] * layout.n
    for name, positions in groups(layout).items():
        for position in positions.tolist():
            kind[position] = name
    return kind


def shared_dimensions(sizes: pd.DataFrame, *, most: int = 3) -> Mapping[str, list[int]]:
    """The `most` largest features of each token of `dimensions`, the largest first."""
    top = sizes.sort_values("magnitude", ascending=False).groupby("token", sort=False).head(most)
    return {token: rows["dimension"].tolist() for token, rows in top.groupby("token", sort=False)}

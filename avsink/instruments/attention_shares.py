"""Attention is not information (Flow section 3, appendix B; figures 1, 2 and 7, table 1).

1. `allocation`, for each sample: how the last token's attention is divided among kinds of tokens, layer by layer
   (figure 1, left), and how much of it goes to sinks;
2. `spike`, over all samples: the layer at which attention to video jumps (layer 31 of 36 in the paper);
3. `masking`, for each sample: from that layer on, media are hidden from the last token or from all text. Is the answer
   still right? (table 1)

For looking at one sample:

4. `maps`: attention maps before and at that layer (figure 1, right);
5. `norms`: the L2 norms of tokens, with sinks marked (figure 2, left, and figure 7);
6. `dimensions`: in which dimensions a sink of the system prompt and a sink of the media are large (figure 2, right).
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor

from avsink.engine.interventions import Block
from avsink.engine.observers import LastRow, Maps, Norms, observe
from avsink.engine.run import clean_run, letter_probabilities
from avsink.instruments.layers import require_layers
from avsink.sample import Unmeasured

__all__ = [
    *("FIRST", "GROUPS", "MASKS", "OUTLIER", "SINKS", "SINKS_BEFORE"),
    *("allocation", "dimensions", "groups", "maps", "masking", "norms", "spike", "upper_half"),
]

GROUPS = ("system", "video", "audio", "user instruction")  # the paper's four kinds; the last is all other text
FIRST = "first video token of each frame"  # a part of video: where the paper finds its sinks
SINKS = "video's sinks"  # a part of video: the tokens that are sinks at the layer's entry
SINKS_BEFORE = "video's sinks, a layer before"  # at the layer before, the share of those that are sinks at this one
OUTLIER = 5.0  # times the median norm of the layer: marks a token as a sink if the model's sinks are not known
MASKS = {  # row of table 1 -> (kinds that are hidden, from which tokens)
    "Original causal mask": ((), ()),
    "Mask video for last token": (("video",), ("last",)),
    "Mask video for all text": (("video",), ("text",)),
    "Mask video and audio for all text": (("video", "audio"), ("text",)),
}


def groups(layout) -> dict[str, Tensor]:
    """Find the positions of each kind of tokens in `GROUPS`. Together they cover the prompt once."""
    media = torch.cat([layout.system, layout.video, layout.audio])
    everything = torch.arange(layout.n)
    text = everything[~torch.isin(everything, media)]
    return dict(zip(GROUPS, (layout.system, layout.video, layout.audio, text), strict=True))


def allocation(model, sample) -> pd.DataFrame:
    """Measure the last token's attention, mean over heads, by kind of token.

    Returns:
        One row per (layer, group), with the columns sample, task, category, layer, group, share (fraction of the
        attention) and tokens (how many the group has). Shares of `GROUPS` sum to 1 in each layer. `FIRST` and `SINKS`
        are parts of video. `SINKS_BEFORE` has no row at layer 0.
    """
    inputs = model.prepare(sample)
    found = groups(inputs.layout)
    if len(inputs.layout.frames):
        found[FIRST] = torch.stack([frame[0] for frame in inputs.layout.frames])
    last = LastRow(found)
    shares, norms = observe(model, inputs, [last, Norms(_sink_dims(model.card))])
    rows = [
        (layer, group, float(share), len(found[group]))
        for group, column in shares.items()
        for layer, share in enumerate(column)
    ]
    video = inputs.layout.video
    for layer, sinks in enumerate(_sinks(norms, model.card)):
        own = video[sinks[video]]
        rows.append((layer, SINKS, float(last.rows[layer][own].sum()), len(own)))
        if layer:
            rows.append((layer, SINKS_BEFORE, float(last.rows[layer - 1][own].sum()), len(own)))
    table = pd.DataFrame(rows, columns=["layer", "group", "share", "tokens"])
    return pd.DataFrame({"sample": sample.id, "task": sample.task, "category": sample.category, **table})


def upper_half(n_layers: int) -> list[int]:
    """The layers of the upper half of the network; of an odd number, the middle one belongs to the lower half."""
    return list(range((n_layers + 1) // 2, n_layers))


def spike(shares: pd.DataFrame) -> int:
    """Find the layer in the upper half of the network at which video's mean share rises most over the layer before.

    Args:
        shares: Rows of `allocation` over many samples.

    Raises:
        ValueError: No sample has video.
    """
    video = shares[shares["group"] == "video"].groupby("layer")["share"].mean() if len(shares) else shares
    if video.empty:
        raise ValueError("no sample has video, so there is no spike of attention to it; choose samples with video")
    return int(video.diff()[upper_half(len(video))].idxmax())


def masking(model, sample, *, first_layer: int) -> pd.DataFrame:
    """Answer one sample under every mask of `MASKS`, from `first_layer` to the last layer (table 1).

    Args:
        model: A loaded model.
        sample: A sample with options.
        first_layer: The first layer in which media are hidden.

    Returns:
        One row per mask, with the columns sample, task, category, mask, layers (in how many media are hidden),
        predicted, correct (0 or 1), chance (that a guess is right) and p (probability of the right letter).

    Raises:
        Unmeasured: The sample has no options.
        SampleError: The sample cannot be used.
        ValueError: The model has no such layer.
    """
    require_layers([first_layer], of="first_layer", n_layers=model.n_layers)
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
        said = letter_probabilities(inputs, probabilities)
        predicted = max(said, key=said.__getitem__)
        rows.append(
            {
                "sample": sample.id,
                "task": sample.task,
                "category": sample.category,
                "mask": mask,
                "layers": len(layers),
                "predicted": predicted,
                "correct": float(predicted == sample.answer),
                "chance": 1 / len(sample.options),
                "p": said[sample.answer],
            }
        )
    return pd.DataFrame(rows)


def maps(model, sample, *, layers: Sequence[int], bins: int = 64) -> pd.DataFrame:
    """Measure attention maps, mean over heads, reduced to the largest weight in each square of neighbouring tokens.

    Args:
        model: A loaded model.
        sample: The sample.
        layers: The layers to measure.
        bins: The largest number of squares along a side.

    Returns:
        One row per (layer, square), with the columns layer, query and key (first tokens of the square), query_stop,
        key_stop, weight, query_group and key_group (kinds of the first tokens).

    Raises:
        ValueError: The model has no such layer, or `bins` is less than 1.
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
    """Measure the L2 norms of all tokens at the entry of `layers`.

    A token is a sink if φ exceeds the model card's threshold; for a model without one, if its norm is `OUTLIER` times
    the layer's median.

    Args:
        model: A loaded model.
        sample: The sample.
        layers: The layers to measure.

    Returns:
        One row per (layer, token), with the columns layer, position, group, l2, sink (bool) and at (the token's place
        in its frame or chunk, 0 for the first; missing for text).

    Raises:
        ValueError: The model has no such layer.
    """
    require_layers(layers, of="layers", n_layers=model.n_layers)
    inputs = model.prepare(sample)
    (found,) = observe(model, inputs, [Norms(_sink_dims(model.card))])
    kind, place = _kinds(inputs.layout), {}
    for piece in (*inputs.layout.frames, *inputs.layout.audio_chunks):
        place |= {int(position): at for at, position in enumerate(piece)}
    tables, sinks = [], _sinks(found, model.card)
    for layer in layers:
        l2 = found["l2"][layer]
        tables.append(
            pd.DataFrame(
                {
                    "layer": layer,
                    "position": range(len(l2)),
                    "group": kind,
                    "l2": l2.tolist(),
                    "sink": sinks[layer].tolist(),
                    "at": [place.get(position) for position in range(len(l2))],
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def dimensions(model, sample, *, layer: int) -> pd.DataFrame:
    """Measure every dimension of two tokens at the entry of a layer: the system and the media token of largest L2 norm.

    Args:
        model: A loaded model.
        sample: A sample with media.
        layer: The layer.

    Returns:
        One row per (token, dimension), with the columns token (which of the two), position, dimension and magnitude
        (|x_d|).

    Raises:
        ValueError: The model has no such layer.
    """
    require_layers([layer], of="layer", n_layers=model.n_layers)
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


def _sink_dims(card) -> tuple[int, ...]:
    """The dimensions in which φ is taken; () if the card does not say which tokens are sinks."""
    return card.sink_dims if card.sink_dims is not None and card.sink_tau is not None else ()


def _sinks(found: dict[str, Tensor], card) -> Tensor:
    """Which tokens are sinks at the entry of each layer, from what `Norms` observed: bool (layers, N)."""
    if _sink_dims(card):
        return found["phi"] > card.sink_tau
    l2 = found["l2"]
    return l2 > OUTLIER * l2.median(dim=1, keepdim=True).values


def _kinds(layout) -> list[str]:
    """Name the kind of each token, by position."""
    kind = [""] * layout.n
    for name, positions in groups(layout).items():
        for position in positions.tolist():
            kind[position] = name
    return kind

"""The self-check: do interventions do what they say, on this model and with the versions that are installed?

New versions of transformers change what hooks, masks and attention functions are given. Interventions written for older
ones then go on running and do nothing, and nobody is told. So `avsink.load` looks first:

1. two prompts are made in memory: one question about two clips of noise, so that they differ in their media alone;
2. each of `CHECKS` states one thing that the instruments rely on, and tries it out on these prompts;
3. the first that fails is a `SelfCheckFailed`: what was checked, what was found, the versions, and what to do.

What comes out is compared as next-token logits at a few positions behind the media: their root mean square difference,
at the worst position, in standard deviations of the logits. Rounding to bfloat16 in 28 layers of random weights makes
it 0.04. (Of the largest difference it makes 0.2, which could not be told from a mask that is lost.)
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import transformers
from torch import Tensor
from torch.nn.functional import pad

from avsink import __version__
from avsink.engine import attention
from avsink.engine.interventions import Block, Restore
from avsink.engine.observers import LastRow, observe
from avsink.engine.record import logits
from avsink.engine.run import Run, clean_run
from avsink.media import Clip
from avsink.sample import Media, Sample, Text

__all__ = ["CHECKS", "SelfCheckFailed", "check"]

SECONDS, SIDE = 3, 96  # of noise, longer than one chunk of the interleaving in any family; pixels of a frame
EXACT, ROUNDED = 1e-3, 0.1  # how far apart the same logits may be: float32, half precision


class SelfCheckFailed(RuntimeError):
    """Interventions would not do what they say. The message names the check, the versions and the remedy."""

    def __init__(self, model, name: str, error: Exception):
        found = error if isinstance(error, _Wrong) else f"{type(error).__name__}: {error}"
        super().__init__(
            f'the self-check of {model.name} ({model.dtype}, {model.device}) failed at "{name}": {found}. '
            "Interventions would go wrong in silence. "
            f"Installed are transformers {transformers.__version__}, torch {torch.__version__}, avsink {__version__}; "
            "for the versions that this project was tested with: pip install -c constraints.txt transformers torch. "
            "To load the model all the same: avsink.load(..., check=False)"
        )


class _Wrong(Exception):
    """What a check has found."""


@torch.no_grad()
def check(model, prompts: tuple | None = None) -> None:
    """Try out every one of `CHECKS` on a loaded model; raise `SelfCheckFailed` at the first that fails.

    prompts: two `Inputs` that differ in their media and in nothing else, instead of clips of noise.
    """
    case = _Case(model, prompts)
    for name, attempt in CHECKS.items():
        try:
            attempt(case)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            raise SelfCheckFailed(model, name, error) from (None if isinstance(error, _Wrong) else error)


def _noise(model, *, seed: int):
    """The question about a clip of noise. No file is read."""
    noise, fps, rate = np.random.default_rng(seed), model.card.fps, model.processor.feature_extractor.sampling_rate
    frames = noise.integers(0, 256, (round(SECONDS * fps), SIDE, SIDE, 3), dtype=np.uint8)
    waveform = 0.1 * noise.standard_normal(SECONDS * rate, dtype=np.float32)
    parts = (Media(path=Path("noise"), kind="video"), Text(text="Which object makes the sound?"))
    sample = Sample(id="self-check", task="", category="", parts=parts, options=("dog", "cat"), answer="A")
    return model.assemble(sample, [Clip(frames=frames, fps=fps, waveform=waveform, sampling_rate=rate)])


class _Case:
    """What the checks share. Passes are made when they are first asked for; logits are (rows, vocabulary)."""

    def __init__(self, model, prompts: tuple | None):
        self.model, self.decoder, self.prompts = model, model.decoder, prompts
        self.tolerance = EXACT if torch.finfo(model.dtype).eps < 1e-6 else ROUNDED

    def prepare(self) -> None:
        self.prompts = self.prompts or tuple(_noise(self.model, seed=seed) for seed in (0, 1))
        self.layout = self.prompts[0].layout
        self.n = self.layout.n
        self.media = torch.cat([self.layout.video, self.layout.audio]).sort().values
        self.behind = torch.arange(int(self.media[-1]) + 1, self.n)
        self.rows = self.behind[torch.linspace(0, len(self.behind) - 1, steps=5).long()]

    @cached_property
    def own(self) -> tuple[Tensor, list, list]:
        """Of the model's own pass: logits, each call of its decoder (arguments, output), the modules that attended."""
        called, attended = [], []

        def read(module, *args, **kwargs):
            attended.append(module)
            return attention.plain(module, *args, **kwargs)

        hook = self.decoder.register_forward_hook(lambda *call: called.append(call[2:]), with_kwargs=True)
        try:
            with attention.substituted(read):
                found = self.model.forward(self.prompts[0]).logits[0]
        finally:
            hook.remove()
        return found[self.rows], called, attended

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """A clean run of each prompt."""
        return tuple(clean_run(self.model, inputs) for inputs in self.prompts)

    @property
    def layers(self) -> range:
        return range(len(self.decoder.layers))

    @property
    def arguments(self) -> dict:
        """What the model hands to its decoder."""
        return self.own[1][0][0] | {"past_key_values": None, "use_cache": False}

    def decoded(self, *, stock: bool = False, **changes) -> Tensor:
        """Logits by the decoder itself, some arguments changed. stock: with transformers' own attention."""
        config, name = self.decoder.config, self.decoder.config._attn_implementation
        config._attn_implementation = "sdpa" if stock else name
        try:
            return self.read(self.decoder(**self.arguments | changes).last_hidden_state[0, -self.n :])
        finally:
            config._attn_implementation = name

    def left(self, run: Run) -> Tensor:
        return self.read(self.decoder.norm(run.states.output))

    def replayed(self, run: Run, plan) -> Tensor:
        return run.replay_logits([plan], self.rows.tolist(), progress=False)[0]

    def read(self, normed: Tensor) -> Tensor:
        return logits(self.model, normed[self.rows])

    def apart(self, found: Tensor, other: Tensor) -> float:
        found, other = found.float().cpu(), other.float().cpu()
        return float(((found - other).square().mean(dim=-1).sqrt() / other.std(dim=-1)).max())

    def same(self, found: Tensor, other: Tensor, what: str) -> None:
        if not (apart := self.apart(found, other)) <= self.tolerance:  # also if it is not a number
            raise _Wrong(f"{what} differ: logits are {apart:.2g} standard deviations apart, {self.tolerance:g} allowed")


def _decoder_answers(case: _Case) -> None:
    own, calls, _ = case.own
    if len(calls) != 1 or not hasattr(case.decoder, "layers") or not hasattr(case.decoder, "norm"):
        kind = f"the one here is a {type(case.decoder).__name__}, called {len(calls)} times"
        raise _Wrong(f"model.decoder must have layers and a norm, and be called once by the model; {kind}")
    found = case.read(calls[0][1].last_hidden_state[0])
    case.same(found, own, "what the head makes of model.decoder's output and the model's own logits")


def _in_use(case: _Case) -> None:
    if (name := case.decoder.config._attn_implementation) != attention.NAME:
        raise _Wrong(f"the decoder is on {name!r}; load the model with attention={attention.NAME!r}")
    layer_of = {module: i for i, layer in enumerate(case.decoder.layers) for module in layer.modules()}
    found = [layer_of.get(module, type(module).__name__) for module in case.own[2]]
    if found != list(case.layers):
        raise _Wrong(f"each of the {len(case.layers)} layers must attend through it once; those that do are {found}")


def _positions(case: _Case) -> None:
    worked_out, given = case.prompts[0].tensors["position_ids"], case.arguments.get("position_ids")
    if given is None or not torch.equal(given[-len(worked_out) :], worked_out.to(given)):
        raise _Wrong("the decoder is given other positions than those that were worked out for the prompt")
    if worked_out.ndim < 3:  # one axis: there is nothing to interleave
        return
    time = worked_out[0, 0].cpu()
    sound, grids = time[case.layout.audio], [time[grid].unique() for grid in case.layout.frames]
    if any(len(grid) > 1 for grid in grids) or grids[0] != sound[0] or grids[-1] > sound[-1]:
        raise _Wrong("tokens of one temporal grid must share a time, and sound and picture start and run together")


def _causal(case: _Case) -> None:
    embeds = case.arguments["inputs_embeds"].clone()  # (1, N, width)
    embeds[:, case.behind[1:]] *= -1
    found = case.decoded(inputs_embeds=embeds)
    case.same(found[:1], case.own[0][:1], "the outcome at one token, with other tokens behind it and without,")


def _padding(case: _Case) -> None:
    if attention.NAME not in attention.AttentionMaskInterface():
        raise _Wrong(f"transformers has no mask function {attention.NAME!r}, so the decoder is given no mask")
    embeds, changes = case.arguments["inputs_embeds"], {}  # (1, N, width)
    front = (len(case.media), 0)  # as many tokens of padding, which would count if they were read
    if (seen := case.arguments.get("visual_pos_masks")) is not None:  # DeepStack
        changes["visual_pos_masks"] = pad(seen, front)
    found = case.decoded(
        inputs_embeds=torch.cat([-embeds[:, case.media], embeds], dim=1),
        attention_mask=pad(torch.ones_like(embeds[..., 0], dtype=torch.long), front),
        position_ids=pad(case.arguments["position_ids"], front),
        **changes,
    )
    case.same(found, case.own[0], "a prompt padded on the left and the prompt itself")


def _changes_nothing(case: _Case) -> None:
    case.same(case.decoded(), case.decoded(stock=True), "this attention function and transformers' own")
    case.same(case.left(case.runs[0]), case.own[0], "a clean run and the model's own pass")


def _replays(case: _Case) -> None:
    run, other = case.runs
    itself = Restore(case.media[len(case.media) // 2, None], case.layers, run.states)
    case.same(case.replayed(run, itself), case.left(run), "a replay with one token restored to what it was and the run")
    all_rows = Restore(range(case.n), case.layers, other.states)
    case.same(case.replayed(run, all_rows), case.left(other), "a replay with all rows of another run and that run")


def _blocks(case: _Case) -> None:
    run, other = case.runs
    block = Block(case.media, case.behind, layers=case.layers)
    found = case.replayed(run, block)
    if case.apart(found, case.left(run)) <= EXACT:
        raise _Wrong("with all media blocked, the logits stay what they were")
    case.same(case.replayed(other, block), found, "two clips, with all media blocked,")
    mask = torch.ones(case.n, case.n, dtype=torch.bool, device=found.device).tril()
    mask[case.behind[:, None], case.media] = False
    masked = case.decoded(stock=True, attention_mask=mask[None, None])
    case.same(found, masked, "all media blocked by a replay and by a mask of transformers' own attention")


def _records(case: _Case) -> None:
    run, other = case.runs
    video, given = case.layout.video, other.states.inputs[0][case.layout.video]

    def overwrite(module, args, kwargs):
        states = (args[0] if args else kwargs["hidden_states"]).clone()
        states[:, video] = given
        return ((states, *args[1:]), kwargs) if args else (args, kwargs | {"hidden_states": states})

    def run_with_hook(layer):
        hook = case.decoder.layers[layer].register_forward_pre_hook(overwrite, with_kwargs=True, prepend=True)
        try:
            return clean_run(case.model, case.prompts[0])
        finally:
            hook.remove()

    middle = len(case.layers) // 2
    try:  # behind the first layer a foreign hook is refused; if not, it must at least be seen
        seen = middle == 0 or torch.equal(run_with_hook(middle).states.inputs[middle][video], given)
    except RuntimeError as error:
        seen = "between layers" in str(error)
    if not seen:
        raise _Wrong(f"what a hook overwrites at the entry of layer {middle} is neither refused nor recorded")
    patched = run_with_hook(0)
    if torch.equal(patched.states.output, run.states.output):
        raise _Wrong("what a hook overwrites at the entry of layer 0 does not reach the layers")
    if not torch.equal(patched.states.inputs[0][video], given):
        raise _Wrong("what a hook overwrites at the entry of layer 0 reaches the layers, and the record misses it")
    for start, rows in ((run, video), (patched, video[:1])):
        found = case.replayed(start, Restore(rows, [0], patched.states))
        case.same(found, case.left(patched), "a replay with rows from a record and the run that was recorded")


def _adds_up(case: _Case) -> None:
    groups = {"not behind": torch.arange(int(case.behind[0])), "behind": case.behind}
    (found,) = observe(case.model, case.prompts[0], [LastRow(groups)])
    total = sum(found.values())  # (layers,)
    if len(total) != len(case.layers) or not bool(((total - 1).abs() <= EXACT).all()):
        raise _Wrong(f"the last token's attention adds up, layer by layer, to {total.tolist()}")


CHECKS = {
    "a clip of noise becomes a prompt": _Case.prepare,
    "the decoder is the one that answers": _decoder_answers,
    "the attention function is in use": _in_use,
    "positions are the interleaved ones": _positions,
    "attention is causal": _causal,
    "padding is masked": _padding,
    "nothing changes by itself": _changes_nothing,
    "replays are exact": _replays,
    "a block closes": _blocks,
    "records show what layers are given": _records,
    "attention adds up to one": _adds_up,
}

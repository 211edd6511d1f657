"""The self-check: do interventions do what they say, on this model and with the installed versions?

New versions of transformers change what hooks, masks and attention functions receive. Interventions written for older
ones may then run without an error and do nothing. So `avsink.load` tests them first:

1. two prompts are made in memory: one question about two clips of noise, so that they differ in their media alone;
2. each of `CHECKS` tests one thing that the instruments rely on, on these prompts;
3. the first check that fails raises `SelfCheckFailed`: what was checked, what was found, the versions, and what to do.

Outcomes are compared as next-token logits at a few positions after the media: the root mean square of their difference,
at the worst position, in units of the logits' standard deviation. Rounding to bfloat16 in 28 layers of random weights
makes that 0.04. (It makes the largest difference 0.2, which could not be told from the effect of a missing mask.)
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import transformers
from torch import Tensor
from torch.nn.functional import pad

from avsink.engine import attention
from avsink.engine.interventions import Block, Restore
from avsink.engine.observers import LastRow, observe
from avsink.engine.record import logits
from avsink.engine.run import Run, clean_run
from avsink.media import Clip
from avsink.models.families.base import text_decoder
from avsink.sample import Media, Sample, Text
from avsink.version import __version__

__all__ = ["CHECKS", "SelfCheckFailed", "check"]

SECONDS, SIDE = 3, 96  # length of the noise, more than one chunk of the interleaving in any family; pixels of a frame
EXACT, ROUNDED = 1e-3, 0.1  # how far apart logits may be that should be equal: in float32, in half precision


class SelfCheckFailed(RuntimeError):
    """Interventions would not do what they say. The message names the check, the versions and the remedy."""

    def __init__(self, model, name: str, error: Exception):
        """`name`: of the check that failed; `error`: what it raised."""
        found = error if isinstance(error, _Wrong) else f"{type(error).__name__}: {error}"
        super().__init__(
            f'the self-check of {model.name} ({model.dtype}, {model.device}) failed at "{name}": {found}. '
            "Interventions would give wrong results without an error. "
            f"Installed are transformers {transformers.__version__}, torch {torch.__version__}, avsink {__version__}; "
            "for the versions that this project is tested with: pip install -c constraints.txt transformers torch. "
            "To load the model nevertheless: avsink.load(..., check=False)"
        )


class _Wrong(Exception):
    """A check's own finding, as opposed to an error inside it."""


@torch.no_grad()
def check(model, prompts: tuple | None = None) -> None:
    """Run all of `CHECKS` on a loaded model.

    Args:
        model: What `avsink.load` returns.
        prompts: Two `Inputs` that differ in their media alone, to be used instead of questions about clips of noise.

    Raises:
        SelfCheckFailed: At the first check that fails.
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
    """Make the prompt with the question about a clip of noise, without reading any file."""
    noise, fps, rate = np.random.default_rng(seed), model.card.fps, model.sampling_rate
    frames = noise.integers(0, 256, (round(SECONDS * fps), SIDE, SIDE, 3), dtype=np.uint8)
    waveform = 0.1 * noise.standard_normal(SECONDS * rate, dtype=np.float32)
    parts = (Media(path=Path("noise"), kind="video"), Text(text="Which object makes the sound?"))
    sample = Sample(id="self-check", task="", category="", parts=parts, options=("dog", "cat"), answer="A")
    return model.assemble(sample, [Clip(frames=frames, fps=fps, waveform=waveform, sampling_rate=rate)])


class _Case:
    """What the checks share. A pass is made when its outcome is first needed; logits are (rows, vocabulary)."""

    def __init__(self, model, prompts: tuple | None):
        self.model, self.decoder, self.prompts = model, model.decoder, prompts
        self.tolerance = EXACT if torch.finfo(model.dtype).eps < 1e-6 else ROUNDED

    def prepare(self) -> None:
        """Make the prompts, and choose the positions at which outcomes are compared."""
        self.prompts = self.prompts or tuple(_noise(self.model, seed=seed) for seed in (0, 1))
        self.layout = self.prompts[0].layout
        self.n = self.layout.n
        self.media = torch.cat([self.layout.video, self.layout.audio]).sort().values
        self.after_media = torch.arange(int(self.media[-1]) + 1, self.n)
        self.rows = self.after_media[torch.linspace(0, len(self.after_media) - 1, steps=5).long()]

    @cached_property
    def own(self) -> tuple[Tensor, list, list]:
        """The model's own pass: logits, each call of its decoder (arguments, output), the modules that attended."""
        called, attended = [], []

        def note(module, *args, **kwargs):
            attended.append(module)
            return attention.plain(module, *args, **kwargs)

        hook = self.decoder.register_forward_hook(lambda *call: called.append(call[2:]), with_kwargs=True)
        try:
            with attention.substituted(by=note):
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
        """The arguments with which the model calls its decoder."""
        return self.own[1][0][0] | {"past_key_values": None, "use_cache": False}

    def decoded(self, *, stock: bool = False, **changes) -> Tensor:
        """Run the decoder itself, with some arguments changed, for logits. stock: with transformers' own attention."""
        config, name = self.decoder.config, self.decoder.config._attn_implementation
        config._attn_implementation = "sdpa" if stock else name
        try:
            return self.logits(self.decoder(**self.arguments | changes).last_hidden_state[0, -self.n :])
        finally:
            config._attn_implementation = name

    def recorded(self, run: Run) -> Tensor:
        """Logits of a run."""
        return self.logits(self.decoder.norm(run.states.output))

    def replayed(self, run: Run, plan) -> Tensor:
        """Logits of a run's replay."""
        return run.replay_logits([plan], self.rows.tolist(), progress=False)[0]

    def logits(self, normed: Tensor) -> Tensor:
        """Logits at `rows` from all rows of the decoder's output, (N, width)."""
        return logits(self.model, normed[self.rows])

    def apart(self, found: Tensor, other: Tensor) -> float:
        """How far apart logits are: see the top of this file."""
        found, other = found.float().cpu(), other.float().cpu()
        return float(((found - other).square().mean(dim=-1).sqrt() / other.std(dim=-1)).max())

    def same(self, found: Tensor, other: Tensor, what: str) -> None:
        """Raise `_Wrong` unless these logits are the same but for rounding."""
        if not (apart := self.apart(found, other)) <= self.tolerance:  # also if it is NaN
            raise _Wrong(f"{what} differ: logits are {apart:.2g} standard deviations apart, {self.tolerance:g} allowed")


def _decoder_answers(case: _Case) -> None:
    own, calls, _ = case.own
    if len(calls) != 1 or not hasattr(case.decoder, "layers") or not hasattr(case.decoder, "norm"):
        kind = f"the one here is a {type(case.decoder).__name__}, called {len(calls)} times"
        raise _Wrong(f"model.decoder must have layers and a norm, and be called once by the model; {kind}")
    found = case.logits(calls[0][1].last_hidden_state[0])
    case.same(found, own, "logits from model.decoder's output and the model's own logits")


def _in_use(case: _Case) -> None:
    if (name := case.decoder.config._attn_implementation) != attention.NAME:
        raise _Wrong(f"the decoder's attention is {name!r}; load the model with attention={attention.NAME!r}")
    layer_of = {module: i for i, layer in enumerate(case.decoder.layers) for module in layer.modules()}
    found = [layer_of.get(module, type(module).__name__) for module in case.own[2]]
    if found != list(case.layers):
        raise _Wrong(
            f"each of the {len(case.layers)} layers must call it once; the layers or modules that did are {found}"
        )


def _positions(case: _Case) -> None:
    prepared, given = case.prompts[0].tensors["position_ids"], case.arguments.get("position_ids")
    if given is None or not torch.equal(given[-len(prepared) :], prepared.to(given)):
        raise _Wrong("the decoder receives other positions than those that were prepared for the prompt")
    if prepared.ndim < 3:  # one axis: nothing is interleaved
        return
    time = prepared[0, 0].cpu()
    sound, grids = time[case.layout.audio], [time[grid].unique() for grid in case.layout.frames]
    if any(len(grid) > 1 for grid in grids) or grids[0] != sound[0] or grids[-1] > sound[-1]:
        raise _Wrong("tokens of a temporal grid must share one time, and picture and sound must start and run together")


def _causal(case: _Case) -> None:
    embeds = case.arguments["inputs_embeds"].clone()  # (1, N, width)
    embeds[:, case.after_media[1:]] *= -1
    found = case.decoded(inputs_embeds=embeds)
    case.same(found[:1], case.own[0][:1], "the outcomes at one token, with different tokens after it,")


def _padding(case: _Case) -> None:
    if attention.NAME not in attention.AttentionMaskInterface():
        raise _Wrong(f"transformers has no mask function {attention.NAME!r}, so the decoder receives no mask")
    embeds, changes = case.arguments["inputs_embeds"], {}  # (1, N, width)
    front = (len(case.media), 0)  # that many padding tokens, which would change the outcome if they were read
    for name in text_decoder(case.model).per_token:
        if (seen := case.arguments.get(name)) is not None:
            changes[name] = pad(seen, front)
    found = case.decoded(
        inputs_embeds=torch.cat([-embeds[:, case.media], embeds], dim=1),
        attention_mask=pad(torch.ones_like(embeds[..., 0], dtype=torch.long), front),
        position_ids=pad(case.arguments["position_ids"], front),
        **changes,
    )
    case.same(found, case.own[0], "a prompt padded on the left and the prompt itself")


def _changes_nothing(case: _Case) -> None:
    case.same(case.decoded(), case.decoded(stock=True), "this attention function and transformers' own")
    case.same(case.recorded(case.runs[0]), case.own[0], "a clean run and the model's own pass")


def _replays(case: _Case) -> None:
    run, other = case.runs
    itself = Restore(case.media[len(case.media) // 2, None], case.layers, run.states)
    case.same(
        case.replayed(run, itself),
        case.recorded(run),
        "a replay that restores one token to what it was and the run itself",
    )
    all_rows = Restore(range(case.n), case.layers, other.states)
    case.same(
        case.replayed(run, all_rows),
        case.recorded(other),
        "a replay that restores all rows from another run and that run",
    )


def _blocks(case: _Case) -> None:
    run, other = case.runs
    block = Block(case.media, case.after_media, layers=case.layers)
    found = case.replayed(run, block)
    if case.apart(found, case.recorded(run)) <= EXACT:
        raise _Wrong("with all media blocked, the logits do not change")
    case.same(case.replayed(other, block), found, "two clips with all media blocked")
    mask = torch.ones(case.n, case.n, dtype=torch.bool, device=found.device).tril()
    mask[case.after_media[:, None], case.media] = False
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
    try:  # after the first layer, other people's hooks are refused; if not, their effect must at least be recorded
        seen = middle == 0 or torch.equal(run_with_hook(middle).states.inputs[middle][video], given)
    except RuntimeError as error:
        seen = "between layers" in str(error)
    if not seen:
        raise _Wrong(f"what a hook overwrites at the input of layer {middle} is neither refused nor recorded")
    patched = run_with_hook(0)
    if torch.equal(patched.states.output, run.states.output):
        raise _Wrong("what a hook overwrites at the input of layer 0 does not reach the layers")
    if not torch.equal(patched.states.inputs[0][video], given):
        raise _Wrong("what a hook overwrites at the input of layer 0 reaches the layers, but is not recorded")
    for start, rows in ((run, video), (patched, video[:1])):
        found = case.replayed(start, Restore(rows, [0], patched.states))
        case.same(found, case.recorded(patched), "a replay that restores rows from a run and that run")


def _sums_to_one(case: _Case) -> None:
    groups = {"media and before": torch.arange(int(case.after_media[0])), "after media": case.after_media}
    (found,) = observe(case.model, case.prompts[0], [LastRow(groups)])
    total = sum(found.values())  # (layers,)
    if len(total) != len(case.layers) or not bool(((total - 1).abs() <= EXACT).all()):
        raise _Wrong(f"the last token's attention weights sum, layer by layer, to {total.tolist()}")


CHECKS = {
    "a clip of noise becomes a prompt": _Case.prepare,
    "the answer comes from the decoder": _decoder_answers,
    "the attention function is in use": _in_use,
    "positions are the interleaved ones": _positions,
    "attention is causal": _causal,
    "padding is masked": _padding,
    "without interventions nothing changes": _changes_nothing,
    "replays are exact": _replays,
    "a block cuts its edges": _blocks,
    "records hold what layers receive": _records,
    "attention weights sum to one": _sums_to_one,
}

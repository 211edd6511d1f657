"""The self-check: do interventions do what they say, on this model and with the installed versions?

New versions of transformers change what hooks, masks and attention functions receive. Interventions written for older
ones may then run without an error and do nothing. So `avsink.load` tests them first:

1. two prompts are made in memory: one question about two clips of noise, so that they differ in their media alone;
2. each of `CHECKS` tests one thing that the instruments rely on, on these prompts (`avsink.engine.self_check_case`);
3. the first check that fails raises `SelfCheckFailed`: what was checked, what was found, the versions, and what to do.
"""

from __future__ import annotations

import torch
import transformers
from torch import Tensor
from torch.nn.functional import pad

from avsink.engine import attention
from avsink.engine.foreign import ForeignCode, forget
from avsink.engine.interventions import Block, Restore
from avsink.engine.record import run_decoder
from avsink.engine.self_check_case import EXACT, Case, Wrong
from avsink.models.families.base import text_decoder
from avsink.version import __version__

__all__ = ["CHECKS", "SelfCheckFailed", "check"]

TURN = 2e-5  # how far apart two cosines may be that should be equal, in float32


class SelfCheckFailed(RuntimeError):
    """Interventions would not do what they say. The message names the check, the versions and the remedy."""

    def __init__(self, model, name: str, error: Exception):
        """`name`: of the check that failed; `error`: what it raised."""
        found = error if isinstance(error, Wrong) else f"{type(error).__name__}: {error}"
        super().__init__(
            f'the self-check of {model.name} ({model.dtype}, {model.device}) failed at "{name}": {found}. '
            "Interventions would give wrong results without an error. "
            f"Installed are transformers {transformers.__version__}, torch {torch.__version__}, avsink {__version__}; "
            "for the versions that this project is tested with: pip install -c constraints.txt transformers torch. "
            "To load the model nevertheless: avsink.load(..., check=False)"
        )


@torch.no_grad()
def check(model, prompts: tuple | None = None) -> None:
    """Run all of `CHECKS` on a loaded model.

    Args:
        model: What `avsink.load` returns.
        prompts: Two `Inputs` that differ in their media alone, to be used instead of questions about clips of noise.

    Raises:
        SelfCheckFailed: At the first check that fails.
    """
    forget(model)
    case = Case(model, prompts)
    for name, attempt in CHECKS.items():
        try:
            attempt(case)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            raise SelfCheckFailed(model, name, error) from (None if isinstance(error, Wrong) else error)


def _decoder_answers(case: Case) -> None:
    own, calls, _ = case.own
    if len(calls) != 1 or not hasattr(case.decoder, "layers") or not hasattr(case.decoder, "norm"):
        kind = f"the one here is a {type(case.decoder).__name__}, called {len(calls)} times"
        raise Wrong(f"model.decoder must have layers and a norm, and be called once by the model; {kind}")
    found = case.logits(calls[0][1].last_hidden_state[0])
    case.same(found, own, "logits from model.decoder's output and the model's own logits")


def _in_use(case: Case) -> None:
    if (name := case.decoder.config._attn_implementation) != attention.NAME:
        raise Wrong(f"the decoder's attention is {name!r}; load the model with attention={attention.NAME!r}")
    layer_of = {module: i for i, layer in enumerate(case.decoder.layers) for module in layer.modules()}
    found = [layer_of.get(module, type(module).__name__) for module in case.own[2]]
    if found != list(case.layers):
        raise Wrong(
            f"each of the {len(case.layers)} layers must call it once; the layers or modules that did are {found}"
        )


def _positions(case: Case) -> None:
    prepared, given = case.prompts[0].tensors["position_ids"], case.arguments[0].get("position_ids")
    if given is None or not torch.equal(given[-len(prepared) :], prepared.to(given)):
        raise Wrong("the decoder receives other positions than those that were prepared for the prompt")
    if prepared.ndim < 3:  # one axis: nothing is interleaved
        return
    time = prepared[0, 0].cpu()
    sound, grids = time[case.layout.audio], [time[grid].unique() for grid in case.layout.frames]
    if any(len(grid) > 1 for grid in grids) or grids[0] != sound[0] or grids[-1] > sound[-1]:
        raise Wrong("tokens of a temporal grid must share one time, and picture and sound must start and run together")


def _rotary(case: Case) -> None:
    """Each dimension of a token's table is that of a word at the token's time, at its height or at its width."""
    given = case.arguments[0]["position_ids"].cpu()  # (axes, 1, N) or (1, N)
    places, at = given.unique(return_inverse=True)
    tables = _tables(case, given)  # (N, D)
    plain = _tables(case, places.expand(*given.shape[:-1], len(places)))  # (places, D)
    if not bool(((plain[1:] - plain[:-1]).abs().amax(dim=-1) > TURN).all()):
        raise Wrong("words at different positions are turned alike")
    fits = (plain[at.reshape(-1, case.n)] - tables).abs().amax(dim=1) <= TURN  # (axes, D)
    if not bool(fits.any(dim=0).all()):
        raise Wrong("tokens are not turned by their positions")
    only = (fits & (fits.sum(dim=0) == 1)).any(dim=1)  # (axes,)
    axes = given.reshape(-1, case.n)
    for axis, own in enumerate(axes):
        if not only[axis] and all(bool((own != other).any()) for i, other in enumerate(axes) if i != axis):
            raise Wrong(f"no dimension is turned by axis {axis} of the positions (time, height, width)")
    received = torch.cat([table[0] for table in case.runs[0].states.rotary[0]], dim=-1)
    if not torch.equal(received.cpu(), tables.to(received.dtype)):
        raise Wrong("the first layer receives other cosines and sines than those of the prompt's positions")


def _tables(case: Case, positions: Tensor) -> Tensor:
    """Cosines and sines that the first layer would receive for these positions, float32 (n, D)."""
    caught = []

    def catch(module, args, kwargs):
        caught.extend(kwargs["position_embeddings"])
        raise _Caught

    embeds = case.arguments[0]["inputs_embeds"]
    hook = case.decoder.layers[0].register_forward_pre_hook(catch, with_kwargs=True, prepend=True)
    try:
        nothing = torch.zeros(1, positions.shape[-1], embeds.shape[-1], device=embeds.device)  # in float32
        case.decoder(inputs_embeds=nothing, position_ids=positions.to(embeds.device), use_cache=False)
    except _Caught:
        pass
    finally:
        hook.remove()
    return torch.cat([table[0].float().cpu() for table in caught], dim=-1)


class _Caught(Exception):
    """Ends a pass at the first layer."""


def _causal(case: Case) -> None:
    """Two passes of one shape, with different tokens after one: up to that one, not a bit may differ."""
    embeds, first = case.arguments[0]["inputs_embeds"].clone(), case.after_media[0] + 1  # (1, N, width)
    embeds[:, first:] *= -1
    plain, found = (case.decoded(**changes)[:first] for changes in ({}, {"inputs_embeds": embeds}))
    if torch.equal(plain, found):
        return
    # An expert multiplies rows of all tokens that chose it, so how it rounds may depend on how many these are.
    rounded = any("expert" in name for name, _ in case.decoder.named_modules())
    apart = float((plain - found).float().square().mean().sqrt() / plain.float().std())
    if not (rounded and apart <= case.tolerance):
        raise Wrong(
            f"with other tokens after token {first - 1}, the decoder's output up to it changes, by {apart:.2g} "
            "standard deviations"
        )


def _padding(case: Case) -> None:
    if attention.NAME not in attention.AttentionMaskInterface():
        raise Wrong(f"transformers has no mask function {attention.NAME!r}, so the decoder receives no mask")
    given, changes = case.arguments[0], {}
    embeds = given["inputs_embeds"]  # (1, N, width)
    front = (len(case.media), 0)  # that many padding tokens, which would change the outcome if they were read
    for name in text_decoder(case.model).per_token:
        if (seen := given.get(name)) is not None:
            changes[name] = pad(seen, front)
    found = case.decoded(
        inputs_embeds=torch.cat([-embeds[:, case.media], embeds], dim=1),
        attention_mask=pad(torch.ones_like(embeds[..., 0], dtype=torch.long), front),
        position_ids=pad(given["position_ids"], front),
        **changes,
    )
    case.same(case.logits(found), case.own[0], "a prompt padded on the left and the prompt itself")


def _changes_nothing(case: Case) -> None:
    case.same(case.own[0], case.stock, "this attention function and transformers' own")
    case.same(case.recorded(case.runs[0]), case.own[0], "a clean run and the model's own pass")


def _rows_alike(case: Case) -> None:
    """A layer treats its rows alike, wherever they are; a replay puts the rows of several plans side by side."""
    rows = case.after_media[-8:]
    allowed = max(EXACT, 8 * torch.finfo(case.model.dtype).eps)
    for layer in case.layers:
        there, back = (_alone(case, layer, at) for at in (rows, rows.flip(0)))
        apart = float(((there - back.flip(0)).norm(dim=-1) / there.norm(dim=-1)).max())
        if not apart <= allowed:
            raise Wrong(
                f"layer {layer} makes other rows of its rows in another order: they differ by {apart:.2g} of their "
                f"size, {allowed:.2g} allowed"
            )


def _alone(case: Case, layer: int, at: Tensor) -> Tensor:
    """What a layer makes of the rows `at` of a run if each of them reads itself alone, float32 (rows, width)."""

    def itself(module, query, key, value, mask, **kwargs):
        return value.repeat_interleave(query.shape[1] // value.shape[1], dim=1).transpose(1, 2).contiguous()

    states = case.runs[0].states
    rotary = tuple(table[:, at] for table in states.rotary[layer])
    with attention.substituted(by=itself):
        found = case.decoder.layers[layer](
            states.inputs[layer][at][None], position_embeddings=rotary, attention_mask=None
        )
    return found[0].float()


def _replays(case: Case) -> None:
    """Plans side by side, which compute different rows; one begins in the middle of the model."""
    run, other = case.runs
    rest, deep = (
        torch.arange(case.n)[~torch.isin(torch.arange(case.n), case.media)],
        case.layers[len(case.layers) // 2 :],
    )
    plans = {
        "one token to what it was": [Restore(case.media[len(case.media) // 2, None], case.layers, run.states)],
        "the media from another run": [Restore(case.media, case.layers, other.states)],
        "all from another run in the middle of the model": [
            Restore(rest, deep[:1], other.states),
            Restore(case.media, deep, other.states),  # at all later layers, too: some families add features there
        ],
        "all rows from another run": [Restore(range(case.n), case.layers, other.states)],
    }
    for (what, plan), found in zip(plans.items(), case.replayed(run, list(plans.values())), strict=True):
        origin = plan[0].states is other.states
        expected = case.recorded(case.runs[origin])
        case.same(found, expected, f"a replay that restores {what} and {'that run' if origin else 'the run itself'}")


def _blocks(case: Case) -> None:
    run, other = case.runs
    block = Block(case.media, case.after_media, layers=case.layers)
    early = Block(case.media, case.after_media, layers=case.layers[:1])
    (found, _), (also_found, _) = (case.replayed(one, [block, early]) for one in (run, other))
    if not (moved := case.apart(found, case.recorded(run))) > case.tolerance:
        raise Wrong(
            f"with all media blocked, the logits change by {moved:.2g} standard deviations, and {case.tolerance:.2g} "
            "may be rounding" + "; load the model in float32" * case.half
        )
    case.same(also_found, found, "two clips with all media blocked")
    mask = torch.ones(case.n, case.n, dtype=torch.bool, device=found.device).tril()
    mask[case.after_media[:, None], case.media] = False
    masked = case.logits(case.decoded(by="sdpa", attention_mask=mask[None, None]))
    case.same(found, masked, "all media blocked by a replay and by a mask of transformers' own attention")


def _refuses_hooks(case: Case) -> None:
    layer = case.decoder.layers[len(case.layers) // 2]
    for part in (layer, *layer.children(), case.decoder.norm):
        hook = part.register_forward_hook(lambda *_: None)
        try:
            run_decoder(case.model, case.arguments[0], [])
        except ForeignCode:
            continue
        finally:
            hook.remove()
        raise Wrong(f"somebody else's hook on a {type(part).__name__} is not refused, and could do anything to rows")


def _sums_to_one(case: Case) -> None:
    assert case.runs
    total = sum(case.last_row.result().values())  # (layers,)
    if len(total) != len(case.layers) or not bool(((total - 1).abs() <= EXACT).all()):
        raise Wrong(f"the last token's attention weights sum, layer by layer, to {total.tolist()}")


CHECKS = {
    "a clip of noise becomes a prompt": Case.prepare,
    "the answer comes from the decoder": _decoder_answers,
    "the attention function is in use": _in_use,
    "positions are the interleaved ones": _positions,
    "attention is causal": _causal,
    "padding is masked": _padding,
    "without interventions nothing changes": _changes_nothing,
    "tokens are turned by their positions": _rotary,
    "layers treat rows alike": _rows_alike,
    "replays are exact": _replays,
    "a block cuts its edges": _blocks,
    "other people's hooks are refused": _refuses_hooks,
    "attention weights sum to one": _sums_to_one,
}

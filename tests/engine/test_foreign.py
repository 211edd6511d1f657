"""Hooks and patches of other people: those that replays would get wrong are refused, by name; others are honoured."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from accelerate.hooks import AlignDevicesHook, ModelHook, add_hook_to_module
from tiny import TinyModel, prompt
from torch.utils.flop_counter import FlopCounterMode

from avsink.engine.foreign import ForeignCode, foreign_code
from avsink.engine.interventions import Block
from avsink.engine.observers import LastRow, observe
from avsink.engine.run import clean_run

STEP = 0.5


@pytest.fixture
def model():
    return TinyModel()


@pytest.fixture
def inputs(model):
    return prompt(model)


def steer(module, args, output):
    """Add to the last row: of the last plan alone, where several stand side by side."""
    output[:, -1] += STEP


def steer_before(module, args):
    args[0][:, -1] += STEP


class Steering:
    """A hook may be anything that can be called."""

    def __call__(self, module, args, output):
        return steer(module, args, output)


def plans(inputs):
    return [Block(inputs.layout.video, inputs.layout.question, [layer]) for layer in range(3)]


PLACES = {
    "layers.1": lambda model: model.decoder.layers[1],
    "layers.2.mlp": lambda model: model.decoder.layers[2].mlp,
    "layers.0.self_attn.o_proj": lambda model: model.decoder.layers[0].self_attn.o_proj,
    "norm": lambda model: model.decoder.norm,
    "output embeddings": lambda model: model.hf.get_output_embeddings(),
}
HOOKS = {
    "test_foreign.steer:": lambda module: module.register_forward_hook(steer),
    "test_foreign.steer_before:": lambda module: module.register_forward_pre_hook(steer_before),
    "test_foreign.Steering:": lambda module: module.register_forward_hook(Steering()),
    "partial.<locals>.<lambda>:": lambda module: module.register_forward_hook(partial(lambda *_, by: None, by=1)),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_on_what_replays_run_is_refused(model, inputs, place, hook):
    run = clean_run(model, inputs)
    before = run.replay(plans(inputs))
    handle = HOOKS[hook](PLACES[place](model))
    said = (
        rf"^{place} has the hook .*{hook.split('.')[-1]} .* remove it before clean_run, or use avsink's interventions"
    )
    for attempt in (
        lambda: clean_run(model, inputs),
        lambda: run.replay(plans(inputs)),
        lambda: observe(model, inputs, [LastRow({})]),
    ):
        with pytest.raises(ForeignCode, match=said):
            attempt()
    handle.remove()
    assert torch.equal(run.replay(plans(inputs)), before)


def test_a_hook_on_every_module_is_refused(model, inputs):
    handle = torch.nn.modules.module.register_module_forward_hook(lambda module, args, output: None)
    try:
        with pytest.raises(ForeignCode, match="every module has the hook .*lambda"):
            clean_run(model, inputs)
    finally:
        handle.remove()


def test_a_hook_on_the_decoders_output_is_refused(model, inputs):
    """Replays do not see it."""
    model.decoder.register_forward_hook(lambda module, args, output: None)
    with pytest.raises(ForeignCode, match="the text decoder has the hook .*lambda"):
        clean_run(model, inputs)


@pytest.mark.parametrize("place", ["decoder", "embeddings", "tower"])
def test_a_hook_on_what_comes_before_the_layers_acts_on_run_and_replays_alike(model, inputs, place):
    part = {
        "decoder": model.decoder,
        "embeddings": model.hf.get_input_embeddings(),
        "tower": model.hf.model.visual.blocks[0],
    }[place]
    plain = clean_run(model, inputs)
    if place == "decoder":
        part.register_forward_pre_hook(
            lambda module, args, kwargs: (args, kwargs | {"inputs_embeds": kwargs["inputs_embeds"] * 2}),
            with_kwargs=True,
        )
    else:
        part.register_forward_hook(lambda module, args, output: output * 2)
    run = clean_run(model, inputs)
    assert not torch.equal(run.logits, plain.logits)
    with torch.inference_mode():
        torch.testing.assert_close(run.logits, model.forward(inputs).logits[0, -1], atol=1e-5, rtol=0)
    itself = run.replay_logits([Block([], [], [0])], range(run.states.n))[0]
    with torch.inference_mode():
        torch.testing.assert_close(itself, model.forward(inputs).logits[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("place", PLACES)
def test_a_forward_that_was_replaced_is_refused(model, inputs, place):
    run, part = clean_run(model, inputs), PLACES[place](model)

    def replaced(*args, **kwargs):
        return type(part).forward(part, *args, **kwargs)

    part.forward = replaced
    said = rf"{place} has the replaced forward .*{replaced.__qualname__.replace('<', '.').replace('>', '.')}"
    for attempt in (lambda: clean_run(model, inputs), lambda: run.replay(plans(inputs))):
        with pytest.raises(ForeignCode, match=said):
            attempt()
    part.forward = type(part).forward.__get__(part)  # the class's own, bound by hand
    assert torch.equal(run.replay(plans(inputs)), clean_run(model, inputs).replay(plans(inputs)))


class Doubling(ModelHook):
    def post_forward(self, module, output):
        return output * 2


def test_accelerates_own_hooks_are_no_matter_and_others_by_its_means_are(model, inputs):
    """It spreads large models over devices by them."""
    before = clean_run(model, inputs).replay(plans(inputs))
    for layer in model.decoder.layers:
        add_hook_to_module(layer, AlignDevicesHook("cpu", io_same_device=True))
    assert torch.equal(clean_run(model, inputs).replay(plans(inputs)), before)
    add_hook_to_module(model.decoder.layers[1], AlignDevicesHook("cpu"), append=True)  # a chain of two
    assert torch.equal(clean_run(model, inputs).replay(plans(inputs)), before)

    add_hook_to_module(model.decoder.layers[2], Doubling(), append=True)
    with pytest.raises(ForeignCode, match="layers.2 has the replaced forward .*Doubling"):
        clean_run(model, inputs)


@pytest.mark.parametrize("first", [True, False])
def test_a_replaced_forward_is_found_on_either_side_of_accelerates(model, inputs, first):
    layer = model.decoder.layers[3]

    def mine(*args, **kwargs):
        return type(layer).forward(layer, *args, **kwargs)

    if first:
        layer.forward = mine
        add_hook_to_module(layer, AlignDevicesHook("cpu"))
    else:
        add_hook_to_module(layer, AlignDevicesHook("cpu"))
        layer.forward = mine
    with pytest.raises(ForeignCode, match=r"layers.3 has the replaced forward .*mine"):
        clean_run(model, inputs)


def test_hooks_that_change_no_number_are_no_matter(model, inputs):
    """Transformers leaves some behind when it is asked for hidden states; torch puts some up while it counts work."""
    before = clean_run(model, inputs).replay(plans(inputs))
    model.forward(inputs, output_hidden_states=True)
    assert any(layer._forward_hooks for layer in model.decoder.layers)
    assert torch.equal(clean_run(model, inputs).replay(plans(inputs)), before)
    with FlopCounterMode(display=False):
        assert torch.equal(clean_run(model, inputs).replay(plans(inputs)), before)


def test_all_that_is_foreign_is_listed(model):
    model.decoder.layers[0].register_forward_hook(steer)
    model.decoder.layers[0].register_forward_pre_hook(steer_before)
    model.hf.model.visual.forward = steer
    found = list(foreign_code(model.hf))
    assert [where for where, _ in found] == ["model.visual", *["model.language_model.layers.0"] * 2]
    assert [what.split(".")[-1] for _, what in found] == ["steer", "steer_before", "steer"]


class Wrapped(torch.nn.Module):
    """A layer in another one, as programs that steer models put it there."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("layer"), name)

    def forward(self, *args, **kwargs):
        output = self.layer(*args, **kwargs)
        output[:, -1] += STEP
        return output


@pytest.mark.parametrize("seen_by", [clean_run, lambda model, inputs: observe(model, inputs, [])])
def test_a_module_in_the_place_of_another_is_refused(model, inputs, seen_by):
    run = clean_run(model, inputs)
    model.decoder.layers[1] = Wrapped(model.decoder.layers[1])
    for attempt in (lambda: seen_by(model, inputs), lambda: run.replay(plans(inputs))):
        with pytest.raises(ForeignCode, match=r"layers\.1 is now a .*test_foreign\.Wrapped, and was a \w+ when"):
            attempt()
    model.decoder.layers[1] = model.decoder.layers[1].layer
    clean_run(model, inputs)


def test_another_activation_is_refused(model, inputs):
    run = clean_run(model, inputs)
    model.decoder.layers[2].mlp.act_fn = torch.nn.ReLU()
    with pytest.raises(ForeignCode, match=r"layers\.2\.mlp\.act_fn is now a .*ReLU, and was a \w+ when"):
        run.replay(plans(inputs))


def test_a_class_whose_forward_was_exchanged_is_refused(model, inputs, monkeypatch):
    run = clean_run(model, inputs)
    own = type(model.decoder.layers[0]).forward

    def patched(self, *args, **kwargs):
        return own(self, *args, **kwargs)

    monkeypatch.setattr(type(model.decoder.layers[0]), "forward", patched)
    with pytest.raises(ForeignCode, match=r"layers\.0 has the replaced forward .*patched in its class"):
        run.replay(plans(inputs))

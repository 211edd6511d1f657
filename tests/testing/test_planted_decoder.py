"""The decoder with hand-set weights: by transformers' own eager attention, then by every intervention of the engine."""

import copy

import pytest
import torch

from avsink.engine.interventions import Block, Discard, Restore
from avsink.engine.run import clean_run
from avsink.instruments.knockout import window
from avsink.instruments.pathways import GROUPS, PATHWAYS
from avsink.testing.planted_decoder import LETTERS, planted

# Pathway -> the hop (0, 1 or 2) that it blocks; other pathways block none.
CARRIERS = {"Audio↛Video": 0, "Audio↮Video": 0, "Video↛Question": 1, "V+A↛Question": 1, "Question↛Last": 2}
SPARED = ("Cross-frame", "Cross-audio", "Video↛Audio", "Audio↛Question", "Video↛Last", "Audio↛Last", "V+A↛Last")
GUESS = 1 / len(LETTERS)


@pytest.fixture(scope="module", params=[(8, (1, 3, 5)), (6, (2, 3, 5))], ids=str)
def truth(request):
    layers, hops = request.param
    return planted(layers=layers, hops=hops)


@pytest.fixture(scope="module")
def oracle(truth):
    """Function: inputs and blocks -> the full output of an eager forward pass with additive masks."""
    hf, masks = copy.deepcopy(truth.model.hf), {}
    hf.set_attn_implementation("eager")
    for index, layer in enumerate(hf.get_decoder().layers):

        def give(module, args, kwargs, index=index):
            return args, kwargs | {"attention_mask": masks[index]}

        layer.self_attn.register_forward_pre_hook(give, with_kwargs=True)

    @torch.inference_mode()
    def forward(inputs, *blocks):
        n = inputs.layout.n
        for index in range(truth.model.n_layers):
            masks[index] = torch.full((1, 1, n, n), float("-inf")).triu(1)
            for block in blocks:
                if index in block.layers:
                    masks[index][0, 0, block.target[:, None], block.source] = float("-inf")
        return hf(**inputs.tensors, output_attentions=True, output_hidden_states=True)

    return forward


@pytest.fixture(scope="module")
def inputs(truth):
    return truth.inputs("C")


@pytest.fixture(scope="module")
def run(truth, inputs):
    return clean_run(truth.model, inputs)


@pytest.fixture(scope="module")
def muted(truth):
    return clean_run(truth.model, truth.inputs("C", muted=True))


def distribution(output):
    return output.logits[0, -1].softmax(-1)


def other_video(truth, layout):
    return layout.video[layout.video != truth.hub]


def hops(truth, layout):
    """The three edges of the path, as one block each."""
    ends = (layout.audio, torch.tensor([truth.hub]), layout.question, layout.last)
    return [Block(ends[i], ends[i + 1], [layer]) for i, layer in enumerate(truth.layers)]


def test_the_prompts_are_sound(truth):
    one, other = truth.inputs("A"), truth.inputs("D")
    one.layout.check()
    assert truth.hub in one.layout.video and one.layout.audio[0] < truth.hub
    changed = (one.tensors["inputs_embeds"] != other.tensors["inputs_embeds"]).any(-1)[0].nonzero()[:, 0]
    assert torch.equal(changed, one.layout.audio)
    silent = [truth.inputs(letter, muted=True).tensors["inputs_embeds"] for letter in "AD"]
    assert torch.equal(*silent)


def test_the_sound_decides_the_answer(truth, oracle):
    for i, letter in enumerate(LETTERS):
        inputs = truth.inputs(letter)
        assert inputs.letters[letter] == (i,) and inputs.layout.answer == i
        assert distribution(oracle(inputs))[i] > 0.99
    assert distribution(oracle(truth.inputs("A", muted=True)))[:4].tolist() == pytest.approx([GUESS] * 4, abs=1e-6)


def test_without_any_one_hop_the_answer_does_not_depend_on_the_sound(truth, oracle):
    for hop in range(3):
        found = []
        for letter in LETTERS:
            inputs = truth.inputs(letter)
            found.append(distribution(oracle(inputs, hops(truth, inputs.layout)[hop])))
        found = torch.stack(found)
        assert (found - found[0]).abs().max() < 1e-6
        assert found[0, :4].tolist() == pytest.approx([GUESS] * 4, abs=1e-6)


@pytest.mark.parametrize("name", [*CARRIERS, *SPARED])
def test_only_the_pathways_of_the_hops_matter_and_only_at_their_layers(truth, oracle, inputs, name):
    clean = distribution(oracle(inputs))
    expected = truth.layers[CARRIERS[name]] if name in CARRIERS else None
    for layer in range(truth.model.n_layers):
        found = distribution(oracle(inputs, *PATHWAYS[name].plan(inputs.layout, layers=range(layer, layer + 1))))
        if layer == expected:
            assert found[2] < 0.5 * clean[2]
        else:
            assert (found - clean).abs().max() < 1e-6


def test_the_hub_is_the_one_sink(truth, oracle, inputs):
    out = oracle(inputs)
    for layer, states in enumerate(out.hidden_states[:-1]):
        x = states[0]
        phi = x[:, list(truth.sink_dims)].abs().amax(-1) / x.pow(2).mean(-1).sqrt()
        sinks = (phi > truth.tau).nonzero()[:, 0].tolist()
        assert sinks == ([truth.hub] if layer >= truth.sink_from else [])
        assert phi.sort().values[-2] < truth.tau / 4
        if layer >= truth.sink_from:
            assert phi[truth.hub] > 2 * truth.tau
            assert out.attentions[layer][0, :, truth.hub :, truth.hub].amax(0).min() > 0.99  # by every later token


def test_distractors_have_the_attention_and_no_information(truth, oracle, inputs):
    out = oracle(inputs)
    for way in truth.distractor:
        source, target = GROUPS[way.source](inputs.layout), GROUPS[way.target](inputs.layout)
        source = source[source != truth.hub]
        for layer in way.layers:
            weights = out.attentions[layer][0, way.head, target[:, None], source]
            assert weights.sum(-1).min() > 0.9
        cut = distribution(oracle(inputs, Block(source, target, range(truth.model.n_layers))))
        assert (cut - distribution(out)).abs().max() < 1e-6


@pytest.mark.parametrize("k", [1, 3])
def test_the_engine_finds_the_hops(truth, inputs, run, k):
    n_layers = truth.model.n_layers
    windows = [window(layer, k=k, n_layers=n_layers) for layer in range(n_layers)]
    cells = [(name, layers) for name in (*CARRIERS, *SPARED) for layers in windows]
    found = run.replay([PATHWAYS[name].plan(inputs.layout, layers=layers) for name, layers in cells])[:, 2]
    hit = [name in CARRIERS and truth.layers[CARRIERS[name]] in layers for name, layers in cells]
    assert found.tolist() == pytest.approx([GUESS if h else float(run.probabilities[2]) for h in hit], abs=1e-5)


def recovered(run, muted, restored):
    """How much of the answer comes back to the muted run, for each pair of positions and layers."""
    plans = [Restore(positions, layers, states=run.states) for positions, layers in restored]
    return ((muted.replay(plans)[:, 2] - GUESS) / (run.probabilities[2] - GUESS)).tolist()


def test_tracing_finds_the_hub_and_no_other_token_of_the_media(truth, inputs, run, muted):
    layout = inputs.layout
    media = torch.cat([layout.video, layout.audio])
    others = [*media[media != truth.hub].split(1), other_video(truth, layout)]
    places = [[truth.hub], layout.audio, *others]  # all of the audio is the source itself
    hub, audio, *rest = recovered(run, muted, [(place, range(truth.model.n_layers)) for place in places])
    assert hub > 0.99 and audio > 0.99 and max(map(abs, rest)) < 0.01


def test_tracing_finds_when_each_place_holds_the_answer(truth, inputs, run, muted):
    """A place holds the answer after the hop that fills it, up to the layer of the hop that reads it."""
    a, b, c = truth.layers
    layout, n_layers = inputs.layout, truth.model.n_layers
    windows = [range(i, j) for i in range(n_layers) for j in range(i + 1, n_layers + 1)]
    held = [
        (layout.audio, range(0, a + 1)),
        ([truth.hub], range(a + 1, b + 1)),
        (layout.question, range(b + 1, c + 1)),
        (layout.last, range(c + 1, n_layers)),
    ]
    for positions, layers in held:
        expected = [float(any(layer in layers for layer in one)) for one in windows]
        assert recovered(run, muted, [(positions, one) for one in windows]) == pytest.approx(expected, abs=0.01)


def test_what_has_been_read_can_be_discarded(truth, inputs, run):
    a, b, c = truth.layers
    layout, after = inputs.layout, range(truth.model.n_layers)
    groups = [(layout.audio, a), (torch.cat([layout.video, layout.audio]), b), (layout.question, c)]
    for positions, hop in [*groups, (other_video(truth, layout), -1)]:
        found = run.replay([Discard(positions, after_layer=layer) for layer in after])[:, 2]
        expected = [float(run.probabilities[2]) if layer >= hop else GUESS for layer in after]
        assert found.tolist() == pytest.approx(expected, abs=1e-6)

"""Observers against full attention maps, kept whole by transformers' own eager attention."""

import copy
from fractions import Fraction

import pytest
import torch
from tiny import TinyModel, prompt

from avsink.engine import observers as module
from avsink.engine.observers import ColumnMeans, LastRow, Maps, Norms, observe
from avsink.engine.run import clean_run
from avsink.sample import SampleError


@pytest.fixture(scope="module")
def model():
    return TinyModel()


@pytest.fixture(scope="module")
def inputs(model):
    return prompt(model)


@pytest.fixture(scope="module")
def eager(model, inputs):
    """Attention (layers, heads, N, N) and the layers' inputs (layers, N, width)."""
    plain = copy.deepcopy(model)
    plain.hf.set_attn_implementation({"text_config": "eager"})
    seen = []
    for layer in plain.decoder.layers:
        layer.register_forward_pre_hook(lambda module, args: seen.append(args[0][0]))
        layer.self_attn.register_forward_pre_hook(_give_causal_mask, with_kwargs=True)
    with torch.inference_mode():
        out = plain.hf(**inputs.tensors, output_attentions=True)
    return torch.stack(out.attentions)[:, 0], torch.stack(seen)


def _give_causal_mask(module, args, kwargs):
    n = kwargs["hidden_states"].shape[1]
    return args, kwargs | {"attention_mask": torch.full((1, 1, n, n), float("-inf")).triu(1)}


@pytest.fixture(params=["at once", "query by query"])
def blocks(request, monkeypatch):
    if request.param == "query by query":
        monkeypatch.setattr(module, "WEIGHTS", 1)


def test_the_last_tokens_attention_by_group(model, inputs, eager):
    layout = inputs.layout
    groups = {"video": layout.video, "audio": layout.audio, "nothing": torch.tensor([], dtype=torch.long)}
    rest = ~torch.isin(torch.arange(layout.n), torch.cat([layout.video, layout.audio]))
    groups["rest"] = rest.nonzero()[:, 0]
    observer = LastRow(groups)
    [found] = observe(model, inputs, [observer])
    rows = eager[0][:, :, -1].mean(dim=1)  # (layers, N)
    for name, positions in groups.items():
        torch.testing.assert_close(found[name], rows[:, positions].sum(-1), atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.stack(observer.rows), rows, atol=1e-6, rtol=0)
    torch.testing.assert_close(found["video"] + found["audio"] + found["rest"], torch.ones(4), atol=1e-5, rtol=0)


def test_what_each_token_receives_from_later_queries(model, inputs, eager, blocks):
    layout, weights = inputs.layout, eager[0].mean(dim=1)  # (layers, N, N)
    queries = {"video": layout.video.flip(0), "audio": layout.audio}
    [found] = observe(model, inputs, [ColumnMeans(**queries)])
    for name, positions in queries.items():
        for key in range(layout.n):
            later = positions[positions > key]
            if len(later) == 0:
                assert found[name][:, key].isnan().all()
            else:
                expected = weights[:, later, key].mean(dim=1)
                torch.testing.assert_close(found[name][:, key], expected, atol=1e-6, rtol=0)


def test_norms_of_tokens_at_the_input_of_each_layer(model, inputs, eager):
    states, dims = eager[1], (7, 100)
    [found] = observe(model, inputs, [Norms(dims)])
    torch.testing.assert_close(found["l2"], states.norm(dim=-1), rtol=1e-5, atol=1e-5)
    rms = states.pow(2).mean(-1).sqrt()
    torch.testing.assert_close(found["phi"], states[..., dims].abs().amax(-1) / rms, rtol=1e-4, atol=1e-5)
    assert found["phi"].max() <= states.shape[-1] ** 0.5
    assert set(observe(model, inputs, [Norms()])[0]) == {"l2"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_phi_of_rows_whose_squares_are_lost(dtype):
    """Against the definition in exact arithmetic, at every size that the type can hold."""
    noise = torch.Generator().manual_seed(0)
    row, dims = torch.randn(64, generator=noise).to(dtype), (3, 17, 40)
    sizes = [10.0**k for k in range(-44, 39) if torch.finfo(dtype).tiny < 10.0**k < torch.finfo(dtype).max / 8]
    rows = torch.stack([row * size for size in sizes] + [row * torch.finfo(dtype).smallest_normal / 64])
    one_massive = torch.zeros_like(row)
    one_massive[17] = min(float(torch.finfo(dtype).max), 3e38)
    rows = torch.cat([rows, one_massive[None], torch.zeros_like(row)[None]])
    observer = Norms(dims)
    observer.begin()
    observer.enter(0, rows, {})
    found = observer.result()["phi"][0].tolist()
    for values, phi in zip(rows.tolist(), found, strict=True):
        squares = sum(Fraction(value) ** 2 for value in values)
        if squares == 0:
            assert phi == 0.0
            continue
        exact = (max(Fraction(values[dim]) ** 2 for dim in dims) * len(values) / squares) ** 0.5
        assert phi == pytest.approx(exact, rel=3e-6)


def test_phi_of_ordinary_rows_is_the_plain_quotient_to_the_last_bit(eager):
    observer, dims = Norms((7, 100)), [7, 100]
    observer.begin()
    for layer, states in enumerate(eager[1]):
        observer.enter(layer, states, {})
    norm = torch.linalg.vector_norm(eager[1], dim=-1)
    plain = eager[1][..., dims].abs().amax(dim=-1) / (norm / eager[1].shape[-1] ** 0.5)
    assert torch.equal(observer.result()["phi"], plain) and torch.equal(observer.result()["l2"], norm)


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_a_state_that_is_not_finite_is_named(value):
    states = torch.ones(5, 8, dtype=torch.float16)
    states[3, 1] = value
    with pytest.raises(ValueError, match="token 3 at the input of layer 2 is not finite; load the model in"):
        observer = Norms([1])
        observer.begin()
        observer.enter(2, states, {})


def test_observing_and_running_are_one_pass(model, inputs):
    """The same numbers, and the same run to the last bit, whether observed or not."""
    observers = [LastRow({"video": inputs.layout.video}), ColumnMeans(video=inputs.layout.video), Norms([3])]
    run = clean_run(model, inputs, observers=observers)
    assert torch.equal(run.logits, clean_run(model, inputs).logits)
    fresh = [LastRow({"video": inputs.layout.video}), ColumnMeans(video=inputs.layout.video), Norms([3])]
    for one, other in zip((observer.result() for observer in observers), observe(model, inputs, fresh), strict=True):
        for name in one:
            torch.testing.assert_close(one[name], other[name], atol=0, rtol=0, equal_nan=True)


def test_an_observer_may_be_used_again(model, inputs):
    """The second run's numbers replace the first's; they are not appended."""
    observer = LastRow({"video": inputs.layout.video})
    once = observe(model, inputs, [observer])[0]["video"]
    again = observe(model, inputs, [observer])[0]["video"]
    assert torch.equal(once, again)


def test_observers_hold_no_map(model, inputs):
    """What an observer keeps grows with layers x tokens, never with tokens x tokens."""
    n = inputs.layout.n
    observers = [LastRow({"video": inputs.layout.video}), ColumnMeans(video=inputs.layout.video), Norms([3])]
    observe(model, inputs, observers)
    for observer in observers:
        for tensor in _tensors(vars(observer)):
            assert tensor.numel() <= n and tensor.untyped_storage().nbytes() <= 4 * n * 2


@pytest.mark.parametrize(
    ("observer", "says"),
    [
        (lambda n: LastRow({"a": [n]}), "LastRow, a: position"),
        (lambda n: ColumnMeans(a=[0, n + 3]), "ColumnMeans, a: position"),
        (lambda n: ColumnMeans(a=[-1]), "ColumnMeans, a: position -1"),
        (lambda n: Norms([128]), "Norms: there is no dimension 128"),
    ],
)
def test_an_argument_that_does_not_fit_the_model_is_named(model, inputs, observer, says):
    with pytest.raises(ValueError, match=says):
        observe(model, inputs, [observer(inputs.layout.n)])


def test_positions_count_once(model, inputs):
    once, twice = (observe(model, inputs, [ColumnMeans(a=rows)])[0]["a"] for rows in ([9, 12], [12, 9, 9]))
    torch.testing.assert_close(once, twice, atol=0, rtol=0, equal_nan=True)


def test_weights_are_computed_for_some_queries_at_a_time(model, inputs, monkeypatch):
    sizes = []
    weights = module._weights
    monkeypatch.setattr(
        module, "_weights", lambda q, k, rows, **kw: sizes.append(len(rows)) or weights(q, k, rows, **kw)
    )
    monkeypatch.setattr(module, "WEIGHTS", 4 * 4 * inputs.layout.n * 3)  # for three queries and four heads
    observe(model, inputs, [ColumnMeans(video=inputs.layout.video)])
    assert max(sizes) == 3 and sum(sizes) == 4 * len(inputs.layout.video)


def _tensors(value):
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _tensors(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _tensors(inner)


@pytest.mark.parametrize("bins", [1000, 7, 1])
def test_maps_keep_the_strongest_weight_of_each_square(model, inputs, eager, blocks, bins):
    n = inputs.layout.n
    [found] = observe(model, inputs, [Maps([1, 3], bins=bins)])
    assert set(found.weights) == {1, 3} and found.size == -(-n // bins)
    for layer, weights in found.weights.items():
        whole = eager[0][layer].mean(dim=0)  # (N, N)
        parts = [range(start, min(start + found.size, n)) for start in range(0, n, found.size)]
        expected = torch.tensor([[float(whole[list(i)][:, list(j)].max()) for j in parts] for i in parts])
        torch.testing.assert_close(weights, expected, atol=1e-6, rtol=0)


def test_maps_of_missing_layers_are_refused(model, inputs):
    with pytest.raises(ValueError, match="no layer 9"):
        observe(model, inputs, [Maps([1, 9])])


def test_a_sample_whose_states_are_not_finite_is_left_out_by_name(inputs):
    model = TinyModel()
    with torch.no_grad():
        model.decoder.layers[0].mlp.down_proj.weight[0, 0] = float("inf")
    for attempt in (
        lambda: observe(model, inputs, [Norms([3])]),
        lambda: clean_run(model, inputs, observers=[Norms()]),
    ):
        with pytest.raises(SampleError, match=r"at the input of layer 1 is not finite") as error:
            attempt()
        assert error.value.sample_id == inputs.sample_id

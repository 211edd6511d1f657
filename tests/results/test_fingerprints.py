"""Fingerprints change when what they stand for changes, and only then."""

import copy
import importlib
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from avsink.instruments import dominance, knockout, sinks, tracing
from avsink.instruments.object_tokens import ObjectFinder
from avsink.results import fingerprints, provenance, sources
from avsink.results.fingerprints import content, identity
from avsink.sample import Media, Sample, Text


@pytest.fixture
def sample(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"moving pictures")
    clip = Media(path=tmp_path / "clip.mp4", kind="video")
    return Sample(id="s1", task="t", category="c", parts=(clip, Text(text="Who?")), options=("bell", "dog"), answer="A")


def test_a_sample_is_its_question_and_the_bytes_of_its_media(sample, tmp_path):
    before = fingerprints.sample(sample)
    assert fingerprints.sample(replace(sample, truth={"object": "bell"})) != before, "object tokens are made of it"
    assert fingerprints.sample(replace(sample, answer="B")) != before
    assert fingerprints.sample(replace(sample, parts=(sample.parts[0], Text(text="What?")))) != before

    (tmp_path / "moved.mp4").write_bytes(b"moving pictures")
    moved = replace(sample.parts[0], path=tmp_path / "moved.mp4")
    assert fingerprints.sample(replace(sample, parts=(moved, sample.parts[1]))) == before

    (tmp_path / "clip.mp4").write_bytes(b"other pictures")
    assert fingerprints.sample(sample) != before
    (tmp_path / "clip.mp4").unlink()
    assert fingerprints.sample(sample) != before


def test_weights_are_told_apart_by_a_training_step_and_by_precision():
    torch.manual_seed(0)
    one = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.LayerNorm(64))
    before = fingerprints.weights(one)
    assert fingerprints.weights(copy.deepcopy(one)) == before
    assert fingerprints.weights(copy.deepcopy(one).bfloat16()) != before
    optimiser = torch.optim.SGD(one.parameters(), lr=1e-4)
    one(torch.randn(8, 64)).square().sum().backward()
    optimiser.step()
    trained = fingerprints.weights(one)
    assert trained != before
    with torch.no_grad():
        one[0].weight[3, 7].copy_(torch.nextafter(one[0].weight[3, 7], torch.tensor(9.0)))  # one bit
    edited = fingerprints.weights(one)
    assert edited != trained
    one.register_buffer("frequencies", torch.ones(4), persistent=False)
    assert fingerprints.weights(one) != edited


def test_a_model_with_a_foreign_hook_is_refused(model):
    hook = model.decoder.layers[1].mlp.register_forward_hook(lambda module, args, output: 2 * output)
    try:
        with pytest.raises(ValueError, match=r"layers\.1\.mlp has the hook .*, and what that does cannot be told"):
            identity(knockout.sweep, model, SWEEP)
    finally:
        hook.remove()


def test_the_config_of_a_model_counts(model, monkeypatch):
    before = fingerprints.processing(model)
    monkeypatch.setattr(model.hf.config, "_name_or_path", "elsewhere")
    assert fingerprints.processing(model) == before
    monkeypatch.setattr(model.hf.config.text_config, "rms_norm_eps", 1e-2)
    assert fingerprints.processing(model) != before


def with_card(model, **facts):
    seen = ("hf", "processor", "tokenizer", "decoder", "dtype", "device", "adapter", "name")
    copied = {name: getattr(model, name) for name in seen if hasattr(model, name)}
    stand_in = type("Model", (SimpleNamespace,), {"__module__": type(model).__module__})
    return stand_in(**copied, card=replace(model.card, **facts))


SWEEP = {"k": 3, "pathways": ("Question↛Last",)}


def test_facts_of_the_card_count_for_the_instruments_that_read_them(model):
    sweep, by_layer = identity(knockout.sweep, model, SWEEP), identity(sinks.by_layer, model, {})
    assert identity(knockout.sweep, with_card(model), SWEEP) == sweep
    assert identity(knockout.sweep, with_card(model, max_frames=4), SWEEP) != sweep
    assert identity(knockout.sweep, with_card(model, taught=True, known_from="?"), SWEEP) == sweep
    assert identity(sinks.by_layer, with_card(model, sink_tau=9.0), {}) != by_layer
    assert identity(knockout.sweep, with_card(model, sink_tau=9.0), SWEEP) == sweep, "knockout reads no sinks"


def test_every_fact_of_a_card_is_read_by_some_code_or_is_about_it():
    """A fact that no attribute access finds would be forgotten: rename it, or list it in ABOUT."""
    from avsink.models.cards import ModelCard

    modules = ["avsink.models.model", "avsink.models.families.qwen25_omni", "avsink.instruments.object_tokens"]
    modules += ["avsink.instruments.sinks", "avsink.papers.hubs.sink_tables", "avsink.toyworld.exhibits"]
    read = sources.attributes(modules, without=fingerprints.CARDS)
    assert {"fps", "max_frames", "frame_tokens", "image_tokens", "sink_tau", "sink_dims", "audio_rate"} <= read
    assert set(ModelCard.__dataclass_fields__) - read - set(fingerprints.ABOUT) <= {"window", "family"}


def test_one_keyword_makes_another_identity_and_their_order_does_not(model):
    before = identity(knockout.sweep, model, {"k": 3, "pathways": ("Question↛Last",)})
    assert identity(knockout.sweep, model, {"pathways": ("Question↛Last",), "k": 3}) == before
    assert identity(knockout.sweep, model, {"pathways": ["Question↛Last"], "k": 3}) == before
    assert identity(knockout.sweep, model, {"k": 5, "pathways": ("Question↛Last",)}) != before
    assert identity(knockout.onward, model, {"pathways": ("Question↛Last",)}) != before


def test_defaults_count(model):
    assert identity(tracing.trace, model, {}) == identity(tracing.trace, model, {"seed": 0, "draws": 5})
    assert identity(tracing.trace, model, {}) != identity(tracing.trace, model, {"seed": 1})
    with pytest.raises(TypeError, match="sead"):
        identity(tracing.trace, model, {"sead": 1})


@pytest.mark.parametrize("what", ["versions", "weights", "processing", "fingerprint"])
def test_whatever_changes_the_numbers_changes_the_identity(model, monkeypatch, what):
    before = identity(dominance.classify, model, {})
    home = {"versions": provenance, "fingerprint": sources}.get(what, fingerprints)
    monkeypatch.setattr(home, what, lambda *_: "changed")
    assert identity(dominance.classify, model, {}) != before


def test_masks_and_spans_count_by_their_bytes_and_not_by_where_they_are(model, tmp_path):
    (tmp_path / "masks/clip").mkdir(parents=True)
    (tmp_path / "masks/clip/000.png").write_bytes(b"a mask")
    (tmp_path / "spans.json").write_text('[{"audio": "clip.wav", "spans": [[0, 1]]}]')

    def of(folder: Path):
        finder = ObjectFinder(masks=folder / "masks", spans=folder / "spans.json")
        return identity(tracing.trace, model, {"objects": finder})

    before = of(tmp_path)
    moved = tmp_path / "moved"
    moved.mkdir()
    (tmp_path / "masks").rename(moved / "masks")
    (tmp_path / "spans.json").rename(moved / "spans.json")
    assert of(moved) == before
    (moved / "masks/clip/000.png").write_bytes(b"b mask")
    changed = of(moved)
    assert changed != before
    (moved / "spans.json").write_text('[{"audio": "clip.wav", "spans": [[0, 2]]}]')
    assert of(moved) != changed
    (tmp_path / "store").mkdir()
    (tmp_path / "store/000.png").write_bytes(b"a mask")
    (moved / "masks/other").symlink_to(tmp_path / "store")
    linked = of(moved)
    (tmp_path / "store/000.png").write_bytes(b"c mask")
    assert of(moved) != linked
    (moved / "masks/clip/001.png").write_bytes(b"a mask")
    more = of(moved)
    (moved / "masks/clip/001.png").rename(moved / "masks/clip/002.png")
    assert of(moved) != more


def test_a_setting_that_acts_brings_its_own_code(model, tmp_path):
    """The rule of object cells is part of the key, since the finder's module imports it."""
    finder = identity(tracing.trace, model, {"objects": ObjectFinder()})
    assert finder["source"] != identity(tracing.trace, model, {})["source"]
    assert "avsink.datasets.masks.object_cells" in sources.closure([ObjectFinder.__module__])


@dataclass(frozen=True)
class Setting:
    limit: float
    table: pd.DataFrame


def test_what_settings_hold_is_told_apart(tmp_path):
    table = pd.DataFrame({"a": [1, 2]})
    one = content(Setting(1.0, table), of="s")
    assert one == content(Setting(1.0, table.copy()), of="s")
    assert one != content(Setting(1.0, table.assign(a=0)), of="s") != content(Setting(2.0, table), of="s")
    assert content(range(3), of="r") == [0, 1, 2]
    assert content(torch.arange(3), of="t") != content(torch.arange(4), of="t")
    assert content(np.zeros(3), of="n") != content(np.zeros(3, dtype=np.float32), of="n")
    assert content({"b": 1, "a": (2, None)}, of="m") == {"a": [2, None], "b": 1}
    assert content({1: "x"}, of="m") != content({"1": "x"}, of="m")
    assert content(torch.zeros(3, dtype=torch.bfloat16), of="t") != content(torch.ones(3, dtype=torch.bfloat16), of="t")
    assert content(np.int64(3), of="n") == 3
    assert content(table.astype(str), of="f") != content(table, of="f") != content(table.set_axis([5, 6]), of="f")
    assert content({3, 1}, of="set") == content({1, 3}, of="set")


def test_settings_that_cannot_be_told_apart_are_refused(model, tmp_path, monkeypatch):
    with pytest.raises(TypeError, match="objects: a function cannot be told from another one"):
        content(lambda sample: None, of="objects")
    (tmp_path / "masks").mkdir()
    with pytest.raises(ValueError, match="masks: .* is a file or folder; give it as a pathlib.Path"):
        content(str(tmp_path / "masks"), of="masks")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spans.json").write_text("[]")
    with pytest.raises(ValueError, match="spans: 'spans.json' is a file or folder"):
        content("spans.json", of="spans")
    with pytest.raises(TypeError, match="a ndarray cannot be told from another"):
        content(np.array([object()]), of="array")
    with pytest.raises(ValueError, match="masks: there is no file or folder"):
        content(tmp_path / "absent", of="masks")
    for nameless in (lambda model, sample: None, partial(knockout.sweep, k=3)):
        with pytest.raises(TypeError, match="is not a function of a module"):
            identity(nameless, model, {})


@dataclass(frozen=True)
class Outer:
    inner: object


def test_settings_inside_settings_bring_their_code(model):
    plain = identity(tracing.trace, model, {"objects": None})
    nested = identity(tracing.trace, model, {"objects": [{"finder": ObjectFinder()}]})
    assert nested["source"] != plain["source"]
    assert content(Outer(1), of="s")["type"].endswith("test_fingerprints.Outer")


def test_a_setting_with_a_name_of_measures_own_is_refused(model, tmp_path, monkeypatch):
    (tmp_path / "rooted.py").write_text("def rows(model, sample, *, root=1):\n    return None\n")
    monkeypatch.syspath_prepend(tmp_path)
    import rooted

    with pytest.raises(TypeError, match="rows has a setting called 'root', which `measure` takes for itself"):
        identity(rooted.rows, model, {})


def test_an_instrument_of_somebody_else_counts_with_what_it_imports(model, tmp_path, monkeypatch):
    path = tmp_path / "mine.py"
    path.write_text("from avsink.instruments import knockout\n\ndef rows(model, sample, *, k=1):\n    return None\n")
    monkeypatch.syspath_prepend(tmp_path)
    import mine

    before = identity(mine.rows, model, {})
    assert before["instrument"] == "mine.rows"
    path.write_text(path.read_text().replace("return None", "return 10"))
    importlib.reload(mine)
    assert identity(mine.rows, model, {}) != before

"""Fingerprints change when what they stand for changes, and only then."""

import copy
import subprocess
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from avsink.results import provenance
from avsink.results.provenance import (
    processing_fingerprint,
    sample_fingerprint,
    source_fingerprint,
    weights_fingerprint,
)
from avsink.sample import Media, Sample, Text


@pytest.fixture
def sample(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"moving pictures")
    clip = Media(path=tmp_path / "clip.mp4", kind="video")
    return Sample(id="s1", task="t", category="c", parts=(clip, Text(text="Who?")), options=("bell", "dog"), answer="A")


def test_a_sample_is_its_question_and_the_bytes_of_its_media(sample, tmp_path):
    before = sample_fingerprint(sample)
    assert sample_fingerprint(replace(sample, truth={"object": "bell"})) == before
    assert sample_fingerprint(replace(sample, answer="B")) != before
    assert sample_fingerprint(replace(sample, parts=(sample.parts[0], Text(text="What?")))) != before

    (tmp_path / "moved.mp4").write_bytes(b"moving pictures")
    moved = replace(sample.parts[0], path=tmp_path / "moved.mp4")
    assert sample_fingerprint(replace(sample, parts=(moved, sample.parts[1]))) == before

    (tmp_path / "clip.mp4").write_bytes(b"other pictures")
    assert sample_fingerprint(sample) != before
    (tmp_path / "clip.mp4").unlink()
    assert sample_fingerprint(sample) != before


def test_weights_are_told_apart_by_a_training_step_and_by_precision():
    torch.manual_seed(0)
    one = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.LayerNorm(64))
    before = weights_fingerprint(one)
    assert weights_fingerprint(copy.deepcopy(one)) == before
    assert weights_fingerprint(copy.deepcopy(one).bfloat16()) != before
    optimiser = torch.optim.SGD(one.parameters(), lr=1e-4)
    one(torch.randn(8, 64)).square().sum().backward()
    optimiser.step()
    assert weights_fingerprint(one) != before


def test_processing_is_told_apart_by_the_limits_of_the_media(model):
    def with_card(**facts):
        card = replace(model.card, **facts)
        return processing_fingerprint(SimpleNamespace(card=card, processor=model.processor, tokenizer=model.tokenizer))

    assert with_card(max_frames=4) != processing_fingerprint(model) == with_card(taught=True)


def test_source_is_told_apart_by_code_and_not_by_comments(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path)
    (tmp_path / "run.py").write_text("x = 1\n")
    before = source_fingerprint()
    (tmp_path / "run.py").write_text("# a thought\nx  =  1\n")
    assert source_fingerprint() == before
    (tmp_path / "run.py").write_text("x = 2\n")
    assert source_fingerprint() != before
    (tmp_path / "knockout.py").write_text("")
    assert source_fingerprint("knockout.py") != source_fingerprint()


def test_the_instruments_sources_are_there():
    for pattern in provenance.COMMON_SOURCES:
        assert list(provenance.PACKAGE.glob(pattern)), f"{pattern} names no file any more"


def test_the_commit_is_known_in_a_repository_and_unknown_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path / "avsink")
    assert provenance.commit() == "unknown"
    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    assert len(provenance.commit()) == 40

"""The layout: every group, decoded to text or traced to its media, is what its name says."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from samples import clip_sample, matching_sample

from avsink.layout import MediaTokens, Piece, TokenLayout, align


@pytest.fixture(scope="module")
def clip(model, clips):
    return model.prepare(clip_sample(clips / "clip.mp4"))


def decoded(model, inputs, positions) -> str:
    return model.tokenizer.decode(inputs.tensors["input_ids"][0, positions])


def test_text_groups_decode_to_their_text(model, clip):
    layout = clip.layout
    assert decoded(model, clip, layout.system).endswith("<|im_end|>\n<|im_start|>user\n")
    asked = "Which object makes the sound?\nA. dog\nB. cat\nC. bird\nAnswer with the letter."
    assert decoded(model, clip, layout.question) == asked
    assert [decoded(model, clip, [p]) for p in layout.option_letters] == ["A", "B", "C"]
    assert [decoded(model, clip, line) for line in layout.options] == ["A. dog\n", "B. cat\n", "C. bird\n"]
    assert decoded(model, clip, layout.true_option) == "B" and decoded(model, clip, layout.false_options) == "AC"
    assert decoded(model, clip, layout.true_line) == "B. cat\n"
    assert decoded(model, clip, layout.false_lines) == "A. dog\nC. bird\n"
    assert decoded(model, clip, layout.stem) == "Which object makes the sound?\nAnswer with the letter."
    assert (
        decoded(model, clip, layout.header) + decoded(model, clip, layout.last) == "<|im_end|>\n<|im_start|>assistant\n"
    )
    assert layout.last.tolist() == [layout.n - 1]


def test_question_falls_into_its_three_components(clip):
    layout = clip.layout
    parts = torch.cat([layout.true_option, layout.false_options, layout.non_option_question])
    assert torch.equal(parts.sort().values, layout.question)


def test_frames_and_chunks_partition_their_modality(model, clip):
    layout, ids = clip.layout, clip.tensors["input_ids"][0]
    assert torch.equal(layout.video, (ids == model.hf.config.video_token_id).nonzero()[:, 0])
    assert torch.equal(layout.audio, (ids == model.hf.config.audio_token_id).nonzero()[:, 0])
    assert [len(frame) for frame in layout.frames] == [9] * 4  # 8 frames: 4 temporal grids of 3 x 3
    assert [len(chunk) for chunk in layout.audio_chunks] == [5] * 4  # one second each
    assert torch.equal(torch.cat(layout.frames), layout.video)
    assert torch.equal(torch.cat(layout.audio_chunks), layout.audio)


def test_a_frame_is_one_moment_and_a_chunk_follows_its_frame(clip):
    time = clip.tensors["position_ids"][0, 0]
    for frame, chunk in zip(clip.layout.frames, clip.layout.audio_chunks, strict=True):
        assert len(time[frame].unique()) == 1
        assert frame[-1] + 1 == chunk[0] and time[chunk].tolist() == list(range(time[frame[0]], time[frame[0]] + 5))


def test_a_changed_frame_changes_the_features_of_its_own_tokens_only(model, clip):
    pixels, grid = clip.tensors["pixel_values_videos"], clip.tensors["video_grid_thw"]
    changed = pixels.clone()
    changed[2 * 36 : 3 * 36] += 1.0  # 36 patches a grid: the third of four
    before, after = (model.hf.get_video_features(p, grid).pooler_output[0] for p in (pixels, changed))
    moved = (before - after).abs().amax(dim=-1) > 1e-6  # [video tokens]
    assert torch.equal(clip.layout.video[moved], clip.layout.frames[2])


def test_interleaved_input_has_candidates_reference_and_structure(model, clips):
    inputs = model.prepare(matching_sample(clips))
    layout, ids = inputs.layout, inputs.tensors["input_ids"][0]
    assert layout.structure == ("candidates", "question", "reference")
    image = "<|vision_bos|>" + "<|IMAGE|>" * 9 + "<|vision_eos|>"
    audio = "<|audio_bos|>" + "<|AUDIO|>" * len(layout.audio) + "<|audio_eos|>"
    assert [decoded(model, inputs, c) for c in layout.candidates] == [image] * 4
    assert decoded(model, inputs, layout.reference) == audio
    assert decoded(model, inputs, layout.question) == "Which one fits?"
    assert torch.equal(layout.non_option_question, layout.question)
    assert decoded(model, inputs, layout.true_option) == "C"
    assert (
        len(layout.frames) == 4
        and not torch.isin(torch.cat([*layout.candidates, layout.reference]), layout.other).any()
    )
    placeholders = torch.isin(ids, torch.tensor([model.hf.config.image_token_id, model.hf.config.audio_token_id]))
    assert torch.equal(torch.cat([layout.video, layout.audio]).sort().values, placeholders.nonzero()[:, 0])
    assert "[1] " in decoded(model, inputs, layout.other) and "A. first" in decoded(model, inputs, layout.other)


def test_other_direction_of_matching(model, clips):
    layout = model.prepare(matching_sample(clips, reference="image")).layout
    # 1, 1.5, 2 and 2.5 seconds at 5 tokens a second, and one image of 3 x 3; each with its two delimiters
    assert [len(c) for c in layout.candidates] == pytest.approx([7, 9.5, 12, 14.5], abs=1)
    assert len(layout.reference) == 11 and torch.equal(layout.reference[1:-1], layout.video)


def test_question_before_the_clip(model, clips):
    sample = clip_sample(clips / "clip.mp4")
    inputs = model.prepare(replace(sample, parts=sample.parts[::-1]))
    assert decoded(model, inputs, inputs.layout.question).startswith("Which object makes the sound?\nA. dog")
    assert inputs.layout.question[0] < inputs.layout.video[0] < inputs.layout.question[-1]


def test_captions_have_no_options(model, clips):
    inputs = model.prepare(clip_sample(clips / "clip.mp4", options=(), suffix="", answer=None))
    assert inputs.layout.options == () and len(inputs.layout.true_option) == 0
    assert decoded(model, inputs, inputs.layout.question) == "Which object makes the sound?"


def test_an_option_that_ends_in_punctuation_keeps_its_newline(model, clips):
    inputs = model.prepare(clip_sample(clips / "clip.mp4", options=("yes.", "no?!", "A"), suffix=""))
    lines = [decoded(model, inputs, line) for line in inputs.layout.options]
    assert lines == ["A. yes.\n", "B. no?!\n", "C. A"]


def test_groups_that_overlap_or_leave_tokens_out_are_refused(clip):
    layout = clip.layout
    with pytest.raises(ValueError, match="prompt overlap or leave"):
        replace(layout, system=layout.system[1:]).check()
    with pytest.raises(ValueError, match="prompt overlap or leave"):
        replace(layout, other=torch.cat([layout.other, layout.question[:1]])).check()
    with pytest.raises(ValueError, match="video overlap or leave"):
        replace(layout, frames=layout.frames[:-1]).check()


def test_align_expands_placeholders_and_refuses_any_other_change():
    assert align([5, 9, 6, 7], [5, 9, 9, 8, 9, 6, 7], placeholders={9}).tolist() == [0, 1, 1, 1, 1, 2, 3]
    for changed in ([5, 9, 9, 6, 8], [5, 9, 9, 6], [5, 9, 6, 7, 7]):
        with pytest.raises(ValueError, match="the processor"):
            align([5, 9, 6, 7], changed, placeholders={9})


def test_a_letter_of_two_tokens_is_refused():
    pieces = [Piece(text="ab", role="letter", option=0), Piece(text="c", role="header")]
    with pytest.raises(ValueError, match="option 1's letter is 2 tokens"):
        TokenLayout.build(
            pieces,
            text_ids=[1, 2, 3],
            starts=[0, 1, 2],
            input_ids=[1, 2, 3],
            tokens=MediaTokens(video=10, image=11, audio=12),
            grids=(),
        )

"""Masks by SAM 2: transformers' own class with random weights, small enough to run anywhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from avsink.datasets.masks.files import MaskError, read_masks
from avsink.datasets.masks.sam2 import Prompt, load_sam2, main, segment, write_masks
from avsink.media import read_clip

SIDE, WIDTH = 128, 128  # pixels of the model's picture; width of its states, twice the 64 of its memory
FRAMES = np.random.default_rng(0).integers(0, 255, (5, 48, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """SAM 2 for videos as a folder in the published layout."""
    from avsink.compat import enable_torchvision

    enable_torchvision()
    from transformers import (
        Sam2ImageProcessor,
        Sam2VideoConfig,
        Sam2VideoModel,
        Sam2VideoProcessor,
        Sam2VideoVideoProcessor,
    )

    trunk = dict(
        model_type="sam2_hiera_det_model",
        hidden_size=8,
        image_size=[SIDE, SIDE],
        blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 1, 1, 1],
        window_size_per_stage=[4, 4, 4, 4],
        global_attention_blocks=[3],
    )
    config = Sam2VideoConfig(
        vision_config=dict(
            model_type="sam2_vision_model",
            backbone_config=trunk,
            backbone_channel_list=[64, 32, 16, 8],
            backbone_feature_sizes=[[SIDE // cut] * 2 for cut in (4, 8, 16)],
            fpn_hidden_size=WIDTH,
        ),
        prompt_encoder_config=dict(hidden_size=WIDTH, image_size=SIDE, mask_input_channels=4),
        mask_decoder_config=dict(hidden_size=WIDTH, mlp_dim=32, num_attention_heads=2, iou_head_hidden_dim=32),
        image_size=SIDE,
        memory_attention_hidden_size=WIDTH,
        memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=32,
        memory_attention_rope_feat_sizes=[SIDE // 16] * 2,
        memory_encoder_hidden_size=WIDTH,
        mask_downsampler_embed_dim=WIDTH,
        memory_fuser_embed_dim=WIDTH,
        memory_fuser_intermediate_dim=32,
    )
    root = tmp_path_factory.mktemp("sam2")
    size = {"height": SIDE, "width": SIDE}
    torch.manual_seed(0)
    model = Sam2VideoModel(config)
    torch.nn.init.constant_(model.mask_decoder.pred_obj_score_head.proj_out.bias, 10.0)  # the object is never hidden
    model.save_pretrained(root)
    Sam2VideoProcessor(
        image_processor=Sam2ImageProcessor(size=size, mask_size={"height": SIDE // 4, "width": SIDE // 4}),
        video_processor=Sam2VideoVideoProcessor(size=size),
        target_size=SIDE,
    ).save_pretrained(root)
    return root


@pytest.fixture(scope="module")
def sam2(folder):
    return dict(zip(("model", "processor"), load_sam2(str(folder)), strict=True))


def test_each_frame_has_the_mask_that_transformers_gives(sam2):
    """Frame by frame, without the iterator: the prompted frame, those after it, those before it."""
    model, processor = sam2["model"], sam2["processor"]
    masks = segment(FRAMES, [Prompt(frame=2, inside=((20, 30),), outside=((5, 6),))], **sam2)
    assert masks.shape == (5, 48, 64) and masks.dtype == bool
    session = processor.init_video_session(video=list(FRAMES), inference_device="cpu", dtype=torch.float32)
    points, labels = [[[[20.0, 30.0], [5.0, 6.0]]]], [[[1, 0]]]
    processor.add_inputs_to_inference_session(session, 2, obj_ids=1, input_points=points, input_labels=labels)
    model(session, frame_idx=2)
    for frame in (2, 3, 4, 1, 0):
        with torch.inference_mode():
            if frame == 1:  # the prompted frame comes again on the way back
                model(session, frame_idx=2, reverse=True)
            logits = model(session, frame_idx=frame, reverse=frame < 2).pred_masks  # [1, 1, 32, 32]
        large = torch.nn.functional.interpolate(logits, size=(48, 64), mode="bilinear", align_corners=False)
        assert np.array_equal(masks[frame], (large[0, 0] > 0).numpy()), frame
    assert 0.05 < masks.mean() < 0.95 and all(mask.any() and not mask.all() for mask in masks)


def test_the_model_is_shown_what_the_prompt_says(sam2, monkeypatch):
    """Points and corners in the model's own pixels, with SAM's labels: 1 on it, 0 beside it, 2 and 3 of a box."""
    sessions, begin = [], sam2["processor"].init_video_session
    monkeypatch.setattr(
        sam2["processor"], "init_video_session", lambda **given: sessions.append(begin(**given)) or sessions[-1]
    )
    prompts = [Prompt(frame=3, inside=((32, 12),), outside=((64, 48),)), Prompt(frame=1, box=(16, 12, 32, 24))]
    segment(FRAMES, prompts, **sam2)
    shown = sessions[0].point_inputs_per_obj[0]
    assert sorted(shown) == [1, 3]
    found = {
        k: (v["point_coords"].reshape(-1, 2).tolist(), v["point_labels"].reshape(-1).tolist()) for k, v in shown.items()
    }
    assert found[3] == ([[64.0, 32.0], [128.0, 128.0]], [1, 0])
    assert found[1] == ([[32.0, 32.0], [64.0, 64.0]], [2, 3])


@pytest.mark.parametrize(
    ("prompts", "reason"),
    [
        ([], "there is no prompt; mark the object in at least one frame"),
        ([Prompt()], "needs a point on the object, or a box"),
        ([Prompt(outside=((1, 1),))], "needs a point on the object, or a box"),
        ([Prompt(frame=5, inside=((1, 1),))], "there is no frame 5: the clip has frames 0 to 4"),
        ([Prompt(inside=((64.5, 1),))], r"\(64.5, 1\) is outside of the picture, which is 64 x 48 pixels"),
        ([Prompt(box=(0, 0, 60, 60))], r"\(60, 60\) is outside"),
        ([Prompt(box=(30, 0, 20, 9))], "the box .* is empty"),
        ([Prompt(inside=((1, 1),)), Prompt(inside=((2, 2),))], "two prompts are of the same frame"),
    ],
)
def test_invalid_prompts(prompts, reason):
    with pytest.raises(MaskError, match=reason):
        segment(FRAMES, prompts, model=None, processor=None)


def test_masks_are_written_once_and_read_back(tmp_path):
    masks = np.random.default_rng(1).random((3, 6, 8)) < 0.5
    files = write_masks(tmp_path / "m", masks)
    assert [path.name for path in files] == ["00000.png", "00001.png", "00002.png"]
    assert np.array_equal(read_masks(tmp_path / "m"), masks * np.uint8(255))
    with pytest.raises(MaskError, match="already holds masks, for example 00000.png"):
        write_masks(tmp_path / "m", masks[:1])


def test_the_command_gives_a_mask_for_each_frame_that_a_model_sees(folder, clips, tmp_path, capsys):
    clip, out = str(clips / "clip.mp4"), tmp_path / "out"
    asked = [clip, "--out", str(out), "--model", str(folder), "--frame", "1", "--inside", "20", "30"]
    assert main([*asked, "--box", "8", "8", "60", "60"]) == 0
    frames = read_clip(clip).frames
    assert f"{len(frames)} masks in {out}" in capsys.readouterr().out
    assert read_masks(out).shape == frames.shape[:3]
    assert main(asked) == 1 and "already holds masks" in capsys.readouterr().err
    assert main([*asked, "--fps", "1", "--frame", "7"]) == 1 and "there is no frame 7" in capsys.readouterr().err
    assert main([*asked[:3], "--model", str(tmp_path / "none"), "--inside", "1", "1"]) == 1
    assert "cannot load SAM 2 from" in capsys.readouterr().err
    assert main([str(clips / "empty.mp4"), *asked[1:]]) == 1 and "empty.mp4" in capsys.readouterr().err

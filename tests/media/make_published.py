"""Write down what the loader of the published models, qwen-omni-utils, takes of ten clips: tests/media/published.json.

It is no dependency: it brings librosa with a compiler, wants FFmpeg's program and a decoder of its own. So its answers
are kept as facts. Make them again in an environment of its own:

    pip install qwen-omni-utils==0.0.9 decord==0.6.0 imageio-ffmpeg==0.6.0 av==18.1.0 torch torchvision
    python tests/media/make_published.py      # with FFmpeg 7.0.2, of imageio-ffmpeg, as `ffmpeg` on the path

`frames` and `size` are those with the limits of the model cards here (128 frames of 128 to 144 tokens), `default` with
the limits of qwen-omni-utils itself. `sound` is the number of samples at 16 kHz.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
os.environ["FORCE_QWENVL_VIDEO_READER"] = "decord"

import torch  # noqa: E402

declared = torch.library.Library("torchvision", "DEF")  # as in avsink.compat: for a torch without CUDA
if not hasattr(torch.ops.torchvision, "nms"):
    declared.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    declared.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from qwen_omni_utils import fetch_video, process_audio_info  # noqa: E402
from ten_clips import TEN  # noqa: E402

CARD = {"max_frames": 128, "min_pixels": 128 * 28 * 28, "max_pixels": 144 * 28 * 28}


def facts(path: Path) -> dict:
    """What is taken of one clip."""
    (pictures, how), fps = fetch_video(
        {"video": str(path)} | CARD, return_video_sample_fps=True, return_video_metadata=True
    )
    default, own = fetch_video({"video": str(path)}, return_video_metadata=True)
    (sound,) = process_audio_info([{"role": "user", "content": [{"type": "video", "video": str(path)}]}], True)
    return {
        "total": how["total_num_frames"],
        "rate": how["fps"],
        "frames": [int(k) for k in how["frames_indices"]],
        "size": list(pictures.shape[2:]),
        "fps": fps,
        "default": {"frames": [int(k) for k in own["frames_indices"]], "size": list(default.shape[2:])},
        "sound": len(sound),
    }


def main() -> None:
    """Write the facts."""
    tools = {name: version(name) for name in ("qwen-omni-utils", "decord", "librosa", "av", "torch", "torchvision")}
    tools["ffmpeg"] = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=True).stdout.split()[
        2
    ]
    with tempfile.TemporaryDirectory() as folder:
        clips = {name: facts(recipe.write(Path(folder))) for name, recipe in TEN.items()}
    lines = [f"  {json.dumps(name)}: {json.dumps(found)}" for name, found in {"made with": tools, **clips}.items()]
    (HERE / "published.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()

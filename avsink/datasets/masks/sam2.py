"""Make masks of a real clip with transformers' SAM 2 (Hubs, table 1), to be read by `avsink.datasets.masks.files`.

SAM 2 follows an object through a clip, but takes no words to say which one. A person or a detector points at it:

1. the clip is decoded as for the model under study: at its frame rate, and with its maximum number of frames;
2. each `Prompt` marks the object in one of these frames, by points, a box, or both;
3. the object is followed from the first frame with a prompt to the end of the clip, then back to its start;
4. a pixel belongs to the object if SAM 2's logit, resized to the clip's size, is above 0. Masks are written as
   ``00000.png`` and so on, white on black, one for each frame that the model sees.

    python -m avsink.datasets.masks.sam2 clip.mp4 --out masks/clip --frame 3 --box 120 40 260 210
    python -m avsink.datasets.masks.sam2 clip.mp4 --out masks/clip --inside 180 120 --outside 20 20

One call follows one object; for several, combine the masks with ``|``.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from avsink import resources
from avsink.datasets.files.paths import whole
from avsink.datasets.masks.files import MaskError, mask_files
from avsink.media import read_clip

__all__ = ["MODEL", "Prompt", "load_sam2", "main", "segment", "write_masks"]

MODEL = "facebook/sam2.1-hiera-small"  # 46 M parameters, Apache-2.0
OBJECT = 1  # SAM 2's id of the only object

Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """Where the object is in one frame, in pixels (x, y) from the upper left corner.

    Attributes:
        frame: The number of the frame, from 0.
        inside: Points on the object.
        outside: Points that are not on the object.
        box: (left, top, right, bottom) around the object.
    """

    frame: int = 0
    inside: tuple[Point, ...] = ()
    outside: tuple[Point, ...] = ()
    box: tuple[float, float, float, float] | None = None

    def check(self, *, n_frames: int, height: int, width: int) -> None:
        """Check the prompt against the size of a clip.

        Raises:
            MaskError: If it marks nothing, or something outside of the clip.
        """
        if not self.inside and self.box is None:
            raise MaskError("a prompt needs a point on the object, or a box around it")
        if not 0 <= self.frame < n_frames:
            raise MaskError(f"there is no frame {self.frame}: the clip has frames 0 to {n_frames - 1}")
        corners = () if self.box is None else (self.box[:2], self.box[2:])
        for x, y in (*self.inside, *self.outside, *corners):
            if not (0 <= x <= width and 0 <= y <= height):
                raise MaskError(f"({x:g}, {y:g}) is outside of the picture, which is {width} x {height} pixels")
        if self.box is not None and not (self.box[0] < self.box[2] and self.box[1] < self.box[3]):
            raise MaskError(f"the box {self.box} is empty; left, top, right, bottom are expected in this order")


def load_sam2(name: str = MODEL, *, device: str = "cpu"):
    """Load SAM 2 for videos and its processor, from a folder or the Hub.

    Raises:
        MaskError: If it cannot be loaded.
    """
    from avsink.compat import enable_torchvision

    enable_torchvision()
    from transformers import Sam2VideoModel, Sam2VideoProcessor

    try:
        model = Sam2VideoModel.from_pretrained(name).to(device).eval()
        return model, Sam2VideoProcessor.from_pretrained(name)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise MaskError(f"cannot load SAM 2 from {name}: {reason}. Give a folder with its weights as --model") from None


def segment(frames: np.ndarray, prompts: Sequence[Prompt], *, model, processor) -> np.ndarray:
    """Follow an object through a clip (steps 2 to 4).

    Args:
        frames: uint8 [T, height, width, 3].
        prompts: At least one, at most one per frame.
        model: From `load_sam2`.
        processor: From `load_sam2`.

    Returns:
        bool [T, height, width].

    Raises:
        MaskError: If a prompt is invalid, or there is none.
    """
    n_frames, height, width = frames.shape[:3]
    prompts = sorted(prompts, key=lambda prompt: prompt.frame)
    if not prompts:
        raise MaskError("there is no prompt; mark the object in at least one frame")
    if len({prompt.frame for prompt in prompts}) < len(prompts):
        raise MaskError("two prompts are of the same frame; put their points into one")
    for prompt in prompts:
        prompt.check(n_frames=n_frames, height=height, width=width)
    session = processor.init_video_session(video=list(frames), inference_device=model.device, dtype=model.dtype)
    for prompt in prompts:
        processor.add_inputs_to_inference_session(session, frame_idx=prompt.frame, obj_ids=OBJECT, **_given(prompt))
        model(session, frame_idx=prompt.frame)
    masks = np.zeros((n_frames, height, width), dtype=bool)
    for back in (False, True):
        steps = model.propagate_in_video_iterator(session, start_frame_idx=prompts[0].frame, reverse=back)
        for found in steps:
            if back and found.frame_idx == prompts[0].frame:
                continue  # done on the way forward
            logits = processor.post_process_masks([found.pred_masks], original_sizes=[[height, width]], binarize=False)
            masks[found.frame_idx] = (logits[0][0, 0] > 0).cpu().numpy()  # [1, 1, height, width] -> [height, width]
    return masks


def write_masks(folder: Path, masks: np.ndarray) -> list[Path]:
    """Write masks, bool [T, height, width], as one picture per frame.

    Returns:
        The files.

    Raises:
        MaskError: If the folder already holds masks.
    """
    try:
        there = mask_files(folder)
    except MaskError:  # none, as required
        there = []
    if there:
        raise MaskError(
            f"{folder} already holds masks, for example {there[0].name}; delete them, or choose another folder"
        )
    files = [folder / f"{number:05d}.png" for number in range(len(masks))]
    for path, mask in zip(files, masks, strict=True):
        picture = io.BytesIO()
        Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).save(picture, format="PNG")
        with whole(path) as file:
            file.write(picture.getvalue())
    return files


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=resources.expanded)
    parser.add_argument("--out", type=resources.expanded, required=True, help="the folder to write masks into")
    parser.add_argument("--model", default=MODEL, help="a folder, or a model on the Hugging Face Hub")
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--fps", type=float, default=2.0, help="frames per second, as on the card of the model under study"
    )
    parser.add_argument("--max-frames", type=int, default=128, help="likewise, from its card")
    parser.add_argument("--frame", type=int, default=0, help="the frame in which the object is marked, from 0")
    pixels = {"type": float, "nargs": 2, "action": "append", "default": [], "metavar": ("X", "Y")}
    parser.add_argument("--inside", **pixels, help="a point on the object, in pixels; may be repeated")
    parser.add_argument("--outside", **(pixels | {"default": []}), help="a point that is not on the object")
    parser.add_argument("--box", type=float, nargs=4, metavar=("LEFT", "TOP", "RIGHT", "BOTTOM"))
    given = parser.parse_args(arguments)
    prompt = Prompt(
        frame=given.frame,
        inside=tuple(map(tuple, given.inside)),
        outside=tuple(map(tuple, given.outside)),
        box=tuple(given.box) if given.box else None,
    )
    try:
        frames = read_clip(given.clip, fps=given.fps, max_frames=given.max_frames, need_sound=False).frames
        prompt.check(n_frames=len(frames), height=frames.shape[1], width=frames.shape[2])
        model, processor = load_sam2(given.model, device=given.device)
        files = write_masks(given.out, segment(frames, [prompt], model=model, processor=processor))
    except (ValueError, OSError) as error:  # `MaskError` and `MediaError` are ValueErrors
        print(error, file=sys.stderr)
        return 1
    print(f"{len(files)} masks in {given.out}")
    return 0


def _given(prompt: Prompt) -> dict[str, list]:
    """A prompt in the processor's nested lists: points [1, 1, n, 2], labels [1, 1, n], boxes [1, 1, 4]."""
    asked: dict[str, list] = {}
    if points := [list(point) for point in (*prompt.inside, *prompt.outside)]:
        asked["input_points"] = [[points]]
        asked["input_labels"] = [[[1] * len(prompt.inside) + [0] * len(prompt.outside)]]
    if prompt.box is not None:
        asked["input_boxes"] = [[list(prompt.box)]]
    return asked


if __name__ == "__main__":
    sys.exit(main())

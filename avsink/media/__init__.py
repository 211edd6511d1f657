"""Files to arrays: what a model will see and hear of a clip, a sound or an image.

Clips and sounds are decoded by PyAV, images by Pillow. Sampling follows Flow appendix C. For one clip:

1. open it (`opening`); refuse one that lacks a picture or sound it needs, or bytes that its structure announces
   (`structure`);
2. measure its tracks by the time stamps of their packets (`survey`); refuse one that lasts longer than the model can
   hear, or that ends before its announced end;
3. picture (`picture`): one frame every `1 / fps` seconds from the first frame on, each the frame that a player would
   show at that time, upright. A clip with more than `max_frames` of them is sampled more slowly, evenly over its whole
   length;
4. sound (`sound`): the mean of the channels, resampled, with silence where there is a gap in time, and aligned with the
   start of the picture: cut if it starts earlier, padded with silence if it starts later;
5. or, with `sampling="published"`, take the frames and the sound that the loader of the published models takes
   (`published`), instead of steps 3 and 4;
6. refuse one whose decoder reports damage, and one of which less can be decoded than it holds. What a codec hides and
   does not report (a changed byte in most lossy codecs) cannot be seen.

Whatever is wrong with a file, `MediaError` says what, and names it; so does whatever exceeds the limits of memory and
time for one file (`limits`).
"""

from avsink.media.clip import Clip, MediaError
from avsink.media.opening import opened
from avsink.media.reading import check_beginning, read, read_audio, read_clip, read_image, seconds

__all__ = [
    "Clip",
    "MediaError",
    "check_beginning",
    "opened",
    "read",
    "read_audio",
    "read_clip",
    "read_image",
    "seconds",
]

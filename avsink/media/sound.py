"""The sound of a clip: mixed to mono, resampled, and kept at its time.

1. The channels are mixed by their mean, whatever the layout is called, and before anything else. So does the loader
   that these models were trained and evaluated with: qwen-omni-utils' `process_audio_info` reads with
   `librosa.load(path, sr=16000)`, whose `to_mono` takes the mean over channels. A mean never passes full scale. What
   follows may, by a few per cent, as librosa's does: a decoder of lossy sound, and the resampler's filter at an edge.
   Nothing is clipped.
2. What the time stamps leave out is filled with silence, so that later sound keeps its time; what they repeat is left
   out. Up to half of a frame (but for `GAP`) it is the coarse clock of a container, a thousandth of a second in
   Matroska, or the jitter of a recorder, and passed over, as players do.
3. Refused are time stamps that jump back, as of several recordings in one file, and those that give all frames another
   length than their samples do, as in a damaged header.
4. The mono sound is resampled, by a new resampler whenever the rate changes.
"""

from __future__ import annotations

import av
import numpy as np

from avsink.media.clip import MediaError
from avsink.media.limits import KEPT, RATES

__all__ = ["Sound"]

GAP = (0.005, 0.04)  # seconds, at least and at most; the latter is an audio token of the published models
DRIFT = 0.005  # of the sound: no recorder's clock is as wrong as this
ENOUGH = 8  # frames, to tell a wrong clock from gaps
TICK = 0.003  # seconds: three ticks of a clock of thousandths
MOST_PLANES = 8  # from which on PyAV loses count of them


class Sound:
    """One track of sound, a decoded frame at a time.

    It is `placed` at its time (step 2), or else taken as it is decoded; with `sixteen`, each channel is rounded to 16
    bits first. `avsink.media.published` says what for.

    Attributes:
        clock: Whether its time stamps count; raw streams have none of their own.
        rate: Samples a second that the file has, at its end.
        start: Seconds at which it begins, None before there is any.
        end: Seconds at which its last frame ends, by its time stamp.
        heard: Seconds that were decoded, without silence that was filled in.
    """

    kind = "sound"

    def __init__(self, sampling_rate: int, *, clock: bool, name: str, placed: bool = True, sixteen: bool = False):
        self.sampling_rate = sampling_rate
        self.clock = clock
        self.name = name
        self.rate = 0
        self.start: float | None = None
        self.end = 0.0
        self.heard = 0.0
        self._blocks: list[np.ndarray] = []
        self._resampler: av.AudioResampler | None = None
        self._placed, self._sixteen = placed, sixteen
        self._next = 0.0  # the time of the sample that comes next
        self._last = 0.0  # the time stamp of the last frame
        self._lengths: list[float] = []  # of frames, in seconds
        self._drifts: list[float] = []  # how much longer each of them is by time stamps

    @property
    def seconds(self) -> float:
        """The length of the sound."""
        return self.end - (self.start or 0.0)

    def add(self, frame: av.AudioFrame) -> None:
        """Mix, place and resample one frame."""
        rate, mono = frame.sample_rate, _mono(frame, sixteen=self._sixteen)  # [n]
        if not RATES[0] <= rate <= RATES[1]:
            raise MediaError(
                f"{self.name} claims {rate} samples of sound a second; {RATES[0]:,} to {RATES[1]:,} are read"
            )
        known = frame.time is not None and (self.clock or self.start is None)
        time, length = frame.time if known else self._next, len(mono) / rate
        if self.start is None:
            self.start = self._next = time
        else:
            self._drifts.append(time - self._last - self._lengths[-1])
        gap = min(max(length / 2, GAP[0]), GAP[1])
        if time < self._last - gap:
            raise MediaError(
                f"{self.name}: the time stamps of its sound jump back from {self._last:.1f} s to {time:.1f} s, as if "
                "it were several recordings; encode it again"
            )
        self.heard += length
        self.end = max(self.end, time + length)
        if 4 * self.seconds * max(rate, self.sampling_rate) > KEPT:
            raise MediaError(f"{self.name}: its sound lasts {self.seconds / 60:.0f} minutes, too long to be kept")
        if rate != self.rate:
            self._start_resampler(rate)
        late = time - self._next if self._placed else 0.0
        if late > gap:
            self._push(np.zeros(round(late * rate), np.float32))
        elif late < -gap:
            mono = mono[round(-late * rate) :]
        self._push(mono)
        self._last = time
        self._lengths.append(length)

    def check_clock(self) -> None:
        """Raise `MediaError` if the time stamps give the frames another length than their samples do, but for gaps."""
        drifts, lengths = np.array(self._drifts), np.array(self._lengths[:-1])
        steady = np.abs(drifts) <= GAP[1]
        drift, total = float(drifts[steady].sum()), float(lengths[steady].sum())
        gaps = np.abs(drifts) > np.maximum(lengths / 2, GAP[0])
        if len(drifts) >= ENOUGH and (gaps.mean() > 0.5 or abs(drift) > TICK + DRIFT * total):
            raise MediaError(
                f"{self.name} is damaged: the time stamps of its sound do not fit its samples, of which there are "
                f"{self.heard:.2f} s; fetch it again"
            )

    def waveform(self, start: float) -> np.ndarray:
        """All of it, float32 [n], as heard from second `start` on."""
        self._flush()
        waveform = np.concatenate(self._blocks).astype(np.float32)  # [n]
        late = round((self.start - start) * self.sampling_rate)
        return np.pad(waveform, (late, 0)) if late > 0 else waveform[-late:]

    def _start_resampler(self, rate: int) -> None:
        self._flush()
        self._resampler = av.AudioResampler(format="fltp", layout="mono", rate=self.sampling_rate)
        self.rate = rate

    def _push(self, mono: np.ndarray) -> None:
        if not len(mono):
            return
        frame = av.AudioFrame.from_ndarray(mono[None], format="fltp", layout="mono")
        frame.sample_rate = self.rate
        self._blocks += [block.to_ndarray()[0] for block in self._resampler.resample(frame)]  # each [n]
        self._next += len(mono) / self.rate

    def _flush(self) -> None:
        if self._resampler:
            self._blocks += [block.to_ndarray()[0] for block in self._resampler.resample(None) if block]


def _mono(frame: av.AudioFrame, *, sixteen: bool) -> np.ndarray:
    """The mean of the channels, each rounded to 16 bits if `sixteen`: float32 [n], full scale 1."""
    channels = frame.layout.nb_channels
    if frame.format.is_planar and channels >= MOST_PLANES:
        (frame,) = av.AudioResampler(format="flt").resample(frame)
    samples = frame.to_ndarray()  # planar: [channels, n]; packed: [1, n * channels]
    if not frame.format.is_planar:
        samples = samples.reshape(-1, channels).T
    if samples.dtype == np.uint8:  # silence is 128
        samples = (samples.astype(np.float32) - 128) / 128
    elif samples.dtype.kind == "i":
        samples = samples.astype(np.float32) / 2.0 ** (8 * samples.dtype.itemsize - 1)
    if sixteen:
        samples = np.clip(np.rint(samples * 2.0**15), -(2**15), 2**15 - 1).astype(np.float32) / 2**15
    if len(samples) == 1:
        return np.ascontiguousarray(samples[0], np.float32)
    return samples.mean(axis=0, dtype=np.float32)

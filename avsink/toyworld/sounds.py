"""The 20 synthesised sounds of the toy world, which differ in pitch, timbre and rhythm.

1. `sound(name, seconds, pitch, rng)` repeats the object's motif (a bark, a stroke, a ring) at the object's own period;
2. a motif is a sum of partials under an envelope, or filtered noise. Its period is at most a second, so that any second
   of a sound identifies the object;
3. `pitch` (0.94 to 1.06), noise and random notes vary the renderings.

Waveforms are float64 arrays [n] at `RATE` Hz with peak at most 1.
"""

from __future__ import annotations

import numpy as np

__all__ = ["RATE", "sound"]

RATE = 16_000  # Hz


def _time(seconds: float) -> np.ndarray:
    return np.arange(int(round(seconds * RATE))) / RATE


def _decay(t: np.ndarray, tau: float, attack: float = 0.004) -> np.ndarray:
    """The envelope of something struck or plucked: a fast rise, then exponential decay with time constant `tau` (s)."""
    return np.minimum(t / attack, 1) * np.exp(-t / tau)


def _swell(t: np.ndarray) -> np.ndarray:
    """The envelope of something blown or voiced: rises, holds and falls over the whole motif."""
    return np.sin(np.pi * np.linspace(0, 1, len(t))) ** 0.5


def _sweep(t: np.ndarray, start: float, stop: float) -> np.ndarray:
    """The phase of a tone whose frequency glides from `start` to `stop` (Hz)."""
    return 2 * np.pi * np.cumsum(np.linspace(start, stop, len(t))) / RATE


def _voice(phase: np.ndarray, weights: tuple[float, ...]) -> np.ndarray:
    """The weighted sum of harmonics 1, 2, 3 … of a phase."""
    return sum(w * np.sin((k + 1) * phase) for k, w in enumerate(weights))


def _noise(t: np.ndarray, rng: np.random.Generator, low: float, high: float) -> np.ndarray:
    """Noise between `low` and `high` Hz, scaled to unit variance."""
    spectrum = np.fft.rfft(rng.standard_normal(max(len(t), 2)))
    frequency = np.fft.rfftfreq(max(len(t), 2), 1 / RATE)
    wave = np.fft.irfft(spectrum * ((frequency >= low) & (frequency <= high)), max(len(t), 2))[: len(t)]
    return wave / (wave.std() + 1e-9)


def _dog(t, p, rng):
    return _swell(t) * (_voice(_sweep(t, 520 * p, 260 * p), (1, 0.8, 0.6, 0.4)) + 0.5 * _noise(t, rng, 300, 1500))


def _cat(t, p, rng):
    half = len(t) // 2
    glide = np.concatenate([np.linspace(620, 980, half), np.linspace(980, 560, len(t) - half)]) * p
    return _swell(t) * _voice(2 * np.pi * np.cumsum(glide) / RATE, (1, 0.7, 0.5))


def _bird(t, p, rng):
    return _swell(t) * np.sin(_sweep(t, 3000 * p, 5200 * p))


def _frog(t, p, rng):
    return _swell(t) * _voice(2 * np.pi * 190 * p * t, (1, 1, 1, 1, 0.6)) * (np.sin(2 * np.pi * 32 * t) > 0)


def _cow(t, p, rng):
    return _swell(t) * _voice(_sweep(t, 150 * p, 115 * p), (1, 0.9, 0.9, 0.7, 0.5, 0.3))


def _duck(t, p, rng):
    return _swell(t) * _voice(_sweep(t, 640 * p, 540 * p), (0.4, 0.6, 1, 1, 0.8, 0.5)) * (1 + 0.6 * np.sin(380 * t))


def _owl(t, p, rng):
    return _swell(t) * np.sin(_sweep(t, 430 * p, 370 * p))


def _bee(t, p, rng):
    return _voice(2 * np.pi * 235 * p * t + 2 * np.sin(2 * np.pi * 9 * t), (1, 0.9, 0.8, 0.8, 0.7, 0.6)) * 0.7


def _bell(t, p, rng):
    partials = ((1, 1.0), (2.76, 0.7), (5.4, 0.5), (8.9, 0.3))
    return sum(w * np.sin(2 * np.pi * 720 * p * r * t) * _decay(t, 0.5 / r**0.5) for r, w in partials)


def _drum(t, p, rng):
    return _decay(t, 0.12) * np.sin(_sweep(t, 120 * p, 60 * p)) + 0.3 * _decay(t, 0.02) * _noise(t, rng, 100, 6000)


def _trumpet(t, p, rng):
    return _swell(t) * _voice(2 * np.pi * 466 * p * t, (0.6, 0.9, 1, 0.9, 0.7, 0.5, 0.4, 0.3))


def _whistle(t, p, rng):
    return _swell(t) * np.sin(2 * np.pi * 2300 * p * t + 6 * np.sin(2 * np.pi * 24 * t))


def _clock(t, p, rng):
    return _decay(t, 0.012, 0.001) * (np.sin(2 * np.pi * 1900 * p * t) + 0.5 * _noise(t, rng, 2500, 7000))


def _phone(t, p, rng):
    tones = np.sin(2 * np.pi * 1050 * p * t) + np.sin(2 * np.pi * 1400 * p * t)
    return _swell(t) * tones * (np.sin(2 * np.pi * 20 * t) > -0.2)


def _train(t, p, rng):
    return _decay(t, 0.09, 0.02) * _noise(t, rng, 200, 900) + 0.25 * _voice(2 * np.pi * 311 * p * t, (1, 0.8, 0.6))


def _piano(t, p, rng):
    note = rng.choice([1, 1.26, 1.5])
    return _decay(t, 0.35) * _voice(2 * np.pi * 523 * p * note * t, (1, 0.35, 0.12))


def _guitar(t, p, rng):
    note = rng.choice([1, 1.19, 1.5])
    return sum(np.sin(2 * np.pi * 147 * p * note * k * t) * _decay(t, 0.5 / k) / k**0.5 for k in range(1, 9))


def _siren(t, p, rng):
    glide = 900 + 450 * np.sin(2 * np.pi * 1.0 * t)
    return _voice(2 * np.pi * np.cumsum(glide * p) / RATE, (1, 0.3, 0.2))


def _rain(t, p, rng):
    return 0.5 * _noise(t, rng, 2500, 7800) * (1 + 0.3 * np.sin(2 * np.pi * 3 * t))


def _car(t, p, rng):
    motor = _voice(2 * np.pi * 55 * p * t, (1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4))
    return motor * (1 + 0.5 * np.sin(2 * np.pi * 14 * t)) + 0.25 * _noise(t, rng, 60, 300)


# name -> (motif, its length in s, its period in s)
_SOUNDS = {
    "dog": (_dog, 0.16, 0.34), "cat": (_cat, 0.62, 0.8), "bird": (_bird, 0.11, 0.2), "frog": (_frog, 0.3, 0.45),
    "cow": (_cow, 0.8, 0.95), "duck": (_duck, 0.18, 0.3), "owl": (_owl, 0.3, 0.5), "bee": (_bee, 1.0, 1.0),
    "bell": (_bell, 0.8, 0.8), "drum": (_drum, 0.24, 0.25), "trumpet": (_trumpet, 0.4, 0.5),
    "whistle": (_whistle, 0.55, 0.7), "clock": (_clock, 0.08, 0.25), "phone": (_phone, 0.5, 0.6),
    "train": (_train, 0.2, 0.24), "piano": (_piano, 0.4, 0.4), "guitar": (_guitar, 0.5, 0.5),
    "siren": (_siren, 1.0, 1.0), "rain": (_rain, 1.0, 1.0), "car": (_car, 1.0, 1.0),
}  # fmt: skip


def sound(name: str, seconds: float, *, pitch: float, rng: np.random.Generator) -> np.ndarray:
    """An object's sound, float64 [n] in [-1, 1], faded in and out; `pitch` is a factor on its frequencies."""
    motif, length, period = _SOUNDS[name]
    wave = np.zeros(len(_time(seconds)))
    start = 0.0
    while start < seconds:
        first = int(start * RATE)
        piece = motif(_time(length), pitch, rng)[: len(wave) - first]
        wave[first : first + len(piece)] += piece
        start += period
    peak = np.abs(wave).max()
    wave = wave / peak if peak > 0 else wave
    fade = np.minimum(1, np.minimum(np.arange(len(wave)), np.arange(len(wave))[::-1]) / (0.01 * RATE))
    return wave * fade

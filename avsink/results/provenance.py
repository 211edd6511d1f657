"""Where numbers come from: versions, weights, source code, data.

Two things are asked of a result. *Is it still valid?* It is, as long as nothing that changes it has changed; the
fingerprints below stand for the parts that have no version number. *How was it made?* `versions` and `commit` say so.
"""

from __future__ import annotations

import ast
import hashlib
import platform
import subprocess
from dataclasses import asdict
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from avsink.sample import Media, Sample

__all__ = [
    *("commit", "processing_fingerprint", "sample_fingerprint", "source_fingerprint"),
    *("versions", "weights_fingerprint"),
]

from avsink.resources import PACKAGE

LIBRARIES = ("torch", "transformers", "torchvision", "av", "numpy")  # decoding, preprocessing, arithmetic
# Everything on the way of a sample to the answer's distribution; an instrument adds its own file.
ENGINE = tuple(
    f"{name}.py" for name in "attending attention interventions patches partition replay run schedule states".split()
)
COMMON_SOURCES = (*ENGINE, "layout.py", "data/sample.py", "data/media.py", "models/*.py")
PROBES = 64  # values read from each weight tensor
NOT_PROCESSING = ("source", "known_from", "taught", "window", "sink_dims", "sink_tau", "dtype")  # of a card's facts


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that can change a number."""
    found = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            found[library] = "not installed"
    return found


def commit() -> str:
    """The repository's git commit, with ``-dirty`` after it if files differ from it; else ``unknown``."""
    root = PACKAGE.parent
    if not (root / ".git").exists():  # installed somewhere: a repository around it would not be ours
        return "unknown"
    describe = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(describe, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def weights_fingerprint(hf: torch.nn.Module) -> str:
    """Names, shapes, types and `PROBES` evenly spaced values of every weight: fast, and any training shows."""
    digest = hashlib.blake2b(digest_size=8)
    for name, tensor in sorted(hf.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        if tensor.numel() and not tensor.is_meta:
            at = torch.linspace(0, tensor.numel() - 1, min(PROBES, tensor.numel()), dtype=torch.float64).long()
            digest.update(tensor.flatten()[at.to(tensor.device)].double().cpu().numpy().tobytes())
    return digest.hexdigest()


def processing_fingerprint(model) -> str:
    """How a sample becomes tensors: the card's limits and prompt, the processor's settings, the tokenizer."""
    facts = {name: value for name, value in asdict(model.card).items() if name not in NOT_PROCESSING}
    parts = {name: part.to_dict() for name, part in vars(model.processor).items() if hasattr(part, "to_dict")}
    words = model.tokenizer.backend_tokenizer.to_str()
    return hashlib.blake2b(repr((facts, parts, words)).encode(), digest_size=8).hexdigest()


def source_fingerprint(*extra: str) -> str:
    """The code that computes: `COMMON_SOURCES` and `extra` files of the package. Comments and layout do not count."""
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted({path for pattern in (*COMMON_SOURCES, *extra) for path in PACKAGE.glob(pattern)}):
        digest.update(f"{path.relative_to(PACKAGE)}\n{ast.dump(ast.parse(path.read_text(encoding='utf-8')))}".encode())
    return digest.hexdigest()


def sample_fingerprint(sample: Sample) -> str:
    """Its id, what is asked in which words, and the bytes of the media; not where they lie."""

    def content(part):
        return (part.kind, part.role, part.sound, _file_digest(part.path)) if isinstance(part, Media) else part

    parts, options = [content(part) for part in sample.parts], tuple(content(option) for option in sample.options)
    named = sample.truth.get("correct_candidate")
    asked = (sample.id, sample.task, sample.category, parts, options, sample.suffix, sample.answer, named)
    return hashlib.blake2b(repr(asked).encode(), digest_size=8).hexdigest()


def _file_digest(path: Path) -> str:
    if not path.is_file():
        return "missing"
    stat = path.stat()
    return _digest_of(path, stat.st_size, stat.st_mtime_ns)


@cache
def _digest_of(path: Path, size: int, mtime_ns: int) -> str:
    """SHA-256 of a file; size and time of change are there to tell when to look again."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

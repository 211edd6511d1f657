"""Where the files of a dataset are, and how they are fetched.

`locate` accepts as root:

1. a folder; or
2. the id of a dataset on the Hugging Face Hub (``owner/name``), which is fetched once into a folder of its own; or
3. "": the folder ``$AVSINK_DATA/<name of the dataset>``.

`fetch` downloads every file that a loader can use, then unpacks every zip in its own folder
(`avsink.datasets.files.zips`). After an interruption it continues: complete files are kept.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from avsink import resources
from avsink.datasets.files.paths import MissingData
from avsink.datasets.files.zips import unzip

__all__ = ["BROUGHT", "HUB", "MissingData", "Published", "fetch", "here", "is_hub_id", "locate"]

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
FETCHED = ".avsink-fetched"  # marks a folder that was fetched completely


@dataclass(frozen=True, kw_only=True)
class Published:
    """A dataset on the Hub.

    Attributes:
        repo: Its id on the Hub, ``owner/name``.
        others: Copies in another form, which the loader reads too.
        size: Approximate size of the download.
        unused: Patterns of files that no loader needs.
        rows: Published number of questions.
        licence: Its licence.
    """

    repo: str
    others: tuple[str, ...] = ()
    size: str
    unused: tuple[str, ...] = ()
    rows: int
    licence: str


HUB: dict[str, Published] = {
    "av-speakerbench": Published(
        repo="plnguyen2908/AV-SpeakerBench",
        others=("plnguyen2908/Holistic_AVQA_bench",),  # its name in older code
        size="2,051 clips of 5 to 30 s",
        rows=3212,
        licence="CC BY-NC 4.0",
    ),
    "worldsense": Published(
        repo="honglyhly/WorldSense",
        others=("lmms-lab/WorldSense",),
        size="1,662 videos, tens of GB",
        unused=("*subtitles*", "audios_chunk_*"),
        rows=3172,
        licence="CC BY 4.0 on its card, non-commercial elsewhere: treat it as non-commercial",
    ),
    "av-odyssey": Published(
        repo="AV-Odyssey/AV_Odyssey_Bench",
        others=("AV-Odyssey/AV_Odyssey_Bench_LMMs_Eval",),
        size="26 GB",
        rows=4555,
        licence="academic research only, no redistribution",
    ),
}
"""Dataset -> where it is published."""

BROUGHT: dict[str, str] = {
    "vggsound": "test.csv or vggsound.csv, stat.csv, and the clips, <id>_<start, 6 digits>.mp4, in any subfolders",
    "vggsounder": "the clips of VGGSound, <id>_<start, 6 digits>.mp4, in any subfolders; the labels come from a csv "
    "of VGGSounder in that folder, or from `pip install vggsounder==0.1.6`",
    "hubs": "a clone of github.com/kaistmm/crossmodal-hub; the clips of VGGSound are in it, in any subfolders, or in "
    "$AVSINK_DATA/vggsound",
    "audioset": "eval_segments.csv, class_labels_indices.csv, ontology.json, and the clips, in any subfolders",
}
"""Dataset that cannot be fetched -> what its folder must hold. `book/datasets.md` says where to get it."""


def here(name: str, root: Path | str = "") -> Path | None:
    """The folder of a dataset if it is on this machine, else None; never uses the network."""
    if root == "":
        data = resources.variable("AVSINK_DATA")
        folder = data / name if data else None
    else:
        folder = resources.expanded(root)
        if not folder.is_dir() and is_hub_id(root):
            folder = _folder_of(str(root))
            return folder if (folder / FETCHED).is_file() else None
    return folder if folder is not None and folder.is_dir() else None


def locate(name: str, root: Path | str = "", *, download: Callable[..., str] | None = None) -> Path:
    """The folder of a dataset, which is fetched first if `root` is an id on the Hub and the folder is not there.

    Args:
        name: The dataset's name.
        root: A folder, an id on the Hub, or "" for ``$AVSINK_DATA/<name>``.
        download: Used in place of `huggingface_hub.snapshot_download`.

    Raises:
        MissingData: If the folder is not there and cannot be fetched.
    """
    if folder := here(name, root):
        return folder
    if root == "":
        looked = f"{os.environ['AVSINK_DATA']} has no folder {name}" if os.environ.get("AVSINK_DATA") else ""
        raise MissingData(
            f"where is {name}? {looked or 'AVSINK_DATA is not set'}. {_remedy(name)}, and give that DIR as "
            f"dataset_root (root), or name it {name} and set AVSINK_DATA to its parent folder"
        )
    if is_hub_id(root) and name in HUB:
        repo = str(root)
        print(f"fetching {repo} into {_folder_of(repo)} ({HUB[name].size})", file=sys.stderr)
        return fetch(name, _folder_of(repo), repo=repo, download=download)
    raise MissingData(f"there is no folder {root}. {_remedy(name)}")


def is_hub_id(root: Path | str) -> bool:
    """Whether this has the form of an id on the Hub; a folder of that name takes precedence."""
    return isinstance(root, str) and HUB_ID.fullmatch(root) is not None


def fetch(
    name: str,
    root: Path | str,
    *,
    repo: str = "",
    revision: str | None = None,
    download: Callable[..., str] | None = None,
) -> Path:
    """Download a dataset and unpack it.

    Args:
        name: The dataset's name.
        root: The folder to download into.
        repo: Another copy on the Hub; "" for the published one.
        revision: A branch, tag or commit of it.
        download: Used in place of `huggingface_hub.snapshot_download`.

    Raises:
        MissingData: If it cannot be downloaded or unpacked.
    """
    if name not in HUB:
        raise MissingData(f"{name} cannot be fetched; these can: {', '.join(HUB)}")
    root, repo = resources.expanded(root), repo or HUB[name].repo
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "it is a file" if root.is_file() else error.strerror
        raise MissingData(f"{root} cannot be the folder of {name}: {reason}") from None
    if download is None:
        from huggingface_hub import snapshot_download as download
    try:
        download(
            repo_id=repo,
            repo_type="dataset",
            revision=revision,
            local_dir=str(root),
            ignore_patterns=list(HUB[name].unused),
        )
    except Exception as error:  # the Hub's client passes on errors of its HTTP library
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise MissingData(
            f"{repo} could not be fetched from the Hugging Face Hub ({reason}). Check the name and the network, then "
            "run this again: it continues where it stopped. Without a network, fetch it on another machine with "
            f"`hf download --repo-type dataset {repo} --local-dir DIR`, and copy that folder"
        ) from None
    unzip(root)
    (root / FETCHED).write_text(f"{repo}\n")
    return root


def _folder_of(repo: str) -> Path:
    parent = resources.variable("AVSINK_DATA") or Path.home() / ".cache" / "avsink" / "data"
    return parent / repo.replace("/", "--")


def _remedy(name: str) -> str:
    if name in BROUGHT:
        return f"Make a folder DIR with {BROUGHT[name]}"
    return f"Fetch it with `python -m avsink.datasets.fetch {name} --root DIR` ({HUB[name].size})"

"""Unpack the zips of a dataset, each in its own folder.

After an interruption it continues: complete files are kept. A zip cannot write outside its folder. Nothing is unpacked
if two different members would have the same path.
"""

from __future__ import annotations

import lzma
import shutil
import stat
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from tqdm.auto import tqdm

from avsink.datasets.files.paths import MissingData, whole

__all__ = ["still_packed", "unzip"]

UNREADABLE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError, ValueError)
ENCRYPTED = 1  # a bit of a member's flags


def unzip(root: Path) -> int:
    """Unpack every zip in `root` and its subfolders; return the number of files written.

    Raises:
        MissingData: If a zip is damaged or refused, or two clash.
    """
    if not root.is_dir():
        raise MissingData(f"there is no folder {root}")
    written = 0
    archives = {archive: _members(archive) for archive in _archives(root)}
    _refuse_clashes(archives)
    for archive, members in tqdm(archives.items(), desc="unpacking", unit="zip", delay=1):
        try:
            with zipfile.ZipFile(archive) as opened:
                for member in filter(lambda member: _waits(archive, member), members):
                    with opened.open(member) as source, whole(archive.parent / member.filename) as target:
                        shutil.copyfileobj(source, target)
                    written += 1
        except MissingData:
            raise
        except OSError as error:
            if error.errno is None:  # from bz2, for damaged data
                raise _unreadable(archive, error) from None
            raise MissingData(f"{archive.name} cannot be unpacked into {archive.parent}: {error}") from None
        except UNREADABLE as error:
            raise _unreadable(archive, error) from None
    return written


def still_packed(root: Path) -> list[Path]:
    """The zips in `root` and its subfolders that are not fully unpacked.

    Raises:
        MissingData: If two of them clash.
    """
    found, archives = [], {}
    for archive in _archives(root):
        try:
            archives[archive] = _members(archive)
            if any(_waits(archive, member) for member in archives[archive]):
                found.append(archive)
        except MissingData:
            found.append(archive)
    _refuse_clashes(archives)
    return found


def _archives(root: Path) -> list[Path]:
    found = (path for path in sorted(root.rglob("*.zip")) if path.is_file())
    return [path for path in found if not any(part.startswith(".") for part in path.relative_to(root).parts)]


def _members(archive: Path) -> list[zipfile.ZipInfo]:
    """The files in a zip. Raises `MissingData` for a zip that is damaged or must not be unpacked."""
    try:
        with zipfile.ZipFile(archive) as opened:
            found = opened.infolist()
    except (OSError, *UNREADABLE) as error:
        raise _unreadable(archive, error) from None
    members = []
    for member in found:
        path = Path(member.filename)
        if not path.name:  # damaged: a name is cut at its first zero byte
            raise _unreadable(archive, "one of its members has no name")
        if member.is_dir() or path.parts[:1] == ("__MACOSX",) or path.name == ".DS_Store":
            continue
        link = stat.S_ISLNK(member.external_attr >> 16)
        if path.is_absolute() or ".." in path.parts or "\\" in member.filename or link:
            raise MissingData(
                f"{archive.name} is refused: its member {member.filename} is a link or leads out of the folder"
            )
        if member.flag_bits & ENCRYPTED:
            raise MissingData(f"{archive.name} is refused: its member {member.filename} is encrypted")
        members.append(member)
    return members


def _refuse_clashes(archives: Mapping[Path, Sequence[zipfile.ZipInfo]]) -> None:
    """Raise `MissingData` if two members are different files of one path, or a file and a folder of one path."""
    first: dict[Path, tuple[Path, zipfile.ZipInfo]] = {}
    for archive, members in archives.items():
        for member in members:
            other, known = first.setdefault(archive.parent / member.filename, (archive, member))
            if (known.file_size, known.CRC) != (member.file_size, member.CRC):
                both = (
                    f"{other.name} and {archive.name} both hold" if other != archive else f"{archive.name} holds twice"
                )
                sizes = f"{known.file_size} and {member.file_size} bytes"
                raise MissingData(f"{both} {member.filename}, with different content ({sizes}); delete the wrong one")
    for target, (archive, member) in first.items():
        for folder in target.parents:
            if folder in first:
                other, known = first[folder]
                raise MissingData(
                    f"{known.filename} in {other.name} is a file, and {member.filename} in {archive.name} needs a "
                    "folder of that name; fetch them again"
                )
            if folder == archive.parent:
                break


def _waits(archive: Path, member: zipfile.ZipInfo) -> bool:
    """Whether a member still has to be unpacked: its file is missing or has another size."""
    target = archive.parent / member.filename
    try:
        return not target.is_file() or target.stat().st_size != member.file_size
    except OSError as error:  # a name that no file can have
        raise MissingData(f"{archive.name} cannot be unpacked into {archive.parent}: {error}") from None


def _unreadable(archive: Path, error: Exception | str) -> MissingData:
    return MissingData(f"{archive.name} cannot be unpacked: {error}; delete it and fetch it again")

"""Media inside a parquet file, written to files once so that they can be decoded like any other file.

1. the rows are read a few at a time: a part of AV-Odyssey has five gigabytes;
2. each medium is written to ``media/<its SHA-256>.<ending>``, completely or not at all. Equal bytes are one file, and
   after an interruption the files written so far are reused;
3. the rows, with names in place of bytes, are written to ``rows/<table>-<size>-<time of change>.jsonl`` and read from
   there the next time. If a medium that they name is missing then, the table is unpacked again.

A cell holds the bytes, or ``{bytes, path}``; a struct without bytes names a file in the folder of the table.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm.auto import tqdm

from avsink import resources
from avsink.datasets.files.paths import whole
from avsink.datasets.files.tables import Row, TableError, different, numbered

__all__ = ["cache_for", "unpacked"]

AT_ONCE = 8  # rows, each with up to nine media
MAGIC = (
    (0, b"\x89PNG", ".png"),
    (0, b"\xff\xd8\xff", ".jpg"),
    (0, b"GIF8", ".gif"),
    (8, b"WEBP", ".webp"),
    (8, b"WAVE", ".wav"),
    (0, b"fLaC", ".flac"),
    (0, b"OggS", ".ogg"),
    (0, b"ID3", ".mp3"),
    (4, b"ftyp", ".mp4"),
    (0, b"\x1aE\xdf\xa3", ".mkv"),
)


def cache_for(root: Path) -> Path:
    """Where the media of `root` are written: in $AVSINK_CACHE, else in `root`, else in the user's cache."""
    if given := resources.variable("AVSINK_CACHE"):
        return given / "unpacked"
    if os.access(root, os.W_OK):
        return root / "unpacked"
    return Path.home() / ".cache" / "avsink" / "unpacked"


def unpacked(table: Path, *, columns: Sequence[str], needs: Sequence[str], cache: Path) -> list[Row]:
    """Read a parquet file, and write its media to files.

    Args:
        table: The parquet file.
        columns: The columns with media.
        needs: Columns that it must have.
        cache: The folder to write to.

    Returns:
        The rows. A cell of `columns` is the Path of the medium that was written, or the name of a file in the folder
        of the table, or None.

    Raises:
        TableError: If the file cannot be read, or lacks a column.
    """
    stat = table.stat()
    manifest = cache / "rows" / f"{table.stem}-{stat.st_size}-{stat.st_mtime_ns}.jsonl"
    rows = _written_before(manifest, columns, cache)
    if rows is None:
        lines = (
            json.dumps(values, ensure_ascii=False, default=str) for values in _write_media(table, columns, needs, cache)
        )
        with whole(manifest) as file:
            file.write("\n".join(lines).encode())
        rows = _rows_of(manifest)
    else:
        _check_columns(table, list(rows[0]), needs)
    return [Row(values=_found(row.values, columns, cache), where=row.where) for row in numbered(table, rows)]


def _rows_of(manifest: Path) -> list[dict]:
    return [json.loads(line) for line in manifest.read_text(encoding="utf-8").split("\n") if line]


def _written_before(manifest: Path, columns: Sequence[str], cache: Path) -> list[dict] | None:
    """The rows written in step 3; None if there are none, or if media that they name are missing."""
    try:
        rows = _rows_of(manifest)
        named = {entry[1] for row in rows for name in columns if (entry := row.get(name)) and entry[0] == "media"}
    except (OSError, ValueError, AttributeError, TypeError, LookupError):  # missing or damaged
        return None
    there = {entry.name for entry in os.scandir(cache / "media")} if (cache / "media").is_dir() else set()
    return rows if rows and named <= there else None


def _check_columns(table: Path, names: Sequence[str], needs: Sequence[str]) -> None:
    if missing := [name for name in needs if name not in names]:
        raise TableError(f"{table.name} has no column {', '.join(missing)}; it has {', '.join(names)}")


def _write_media(table: Path, columns: Sequence[str], needs: Sequence[str], cache: Path) -> Iterator[dict]:
    """Steps 1 and 2: yield the rows, with ``[folder, path]`` in place of each medium."""
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(table) as file:
            different(file.schema_arrow.names, table)
            _check_columns(table, file.schema_arrow.names, needs)
            progress = tqdm(total=file.metadata.num_rows, desc=f"unpacking {table.name}", unit="row", delay=3)
            with progress:
                for batch in file.iter_batches(batch_size=AT_ONCE):
                    for values in batch.to_pylist():
                        media = {name: _written(values[name], cache, name) for name in columns if name in values}
                        yield {name: media[name] if name in media else _plain(value) for name, value in values.items()}
                        progress.update()
    except TableError:
        raise
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # no space left, not allowed: not the table's fault
            raise
        raise TableError(f"{table.name} is not a parquet file, or is cut off: {error}; fetch it again") from None


def _written(value: object, cache: Path, column: str) -> list[str] | None:
    name = ""
    if isinstance(value, dict):
        value, name = value.get("bytes"), value.get("path") or ""
    if isinstance(value, str):
        value, name = None, value
    if not value:
        return ["beside", name] if name else None
    if not isinstance(value, (bytes, bytearray)):
        raise ValueError(f"a medium in {column} is {type(value).__name__}; bytes, or bytes and a path, are expected")
    relative = f"{hashlib.sha256(value).hexdigest()[:40]}{_ending(value, name)}"
    if not (path := cache / "media" / relative).is_file():
        with whole(path) as file:
            file.write(value)
    return ["media", relative]


def _ending(content: bytes, name: str) -> str:
    """The ending by the first bytes, else by the name. For people only: decoders do not need it."""
    found = (ending for at, magic, ending in MAGIC if content[at : at + len(magic)] == magic)
    return next(found, Path(name).suffix.lower() or ".bin")


def _plain(value: object) -> object:
    """A value of a column without media; bytes are dropped."""
    return None if isinstance(value, (bytes, bytearray)) else value


def _found(values: dict, columns: Sequence[str], cache: Path) -> dict:
    """A row with a Path for each medium that was written, and the name of each file in the folder of the table."""

    def medium(entry: list[str] | None) -> Path | str | None:
        return cache / "media" / entry[1] if entry and entry[0] == "media" else entry and entry[1]

    return {name: medium(value) if name in columns else value for name, value in values.items()}

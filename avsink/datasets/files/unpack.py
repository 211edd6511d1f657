"""Media that lie inside a parquet file, written out once, so that they can be decoded as any other file.

1. the rows are read a few at a time: a part of AV-Odyssey has five gigabytes;
2. each medium goes to ``media/<its SHA-256>.<ending>``. The same bytes are one file, whichever rows hold them, and a
   run that was interrupted finds what it has written. A file appears whole or not at all;
3. the rows themselves, with names in place of bytes, go to ``rows/<table>-<size>-<time of change>.jsonl``, and from
   there they are read the next time. If a medium that they name is gone by then, the table is unpacked again.

A cell may hold the bytes themselves, or ``{bytes, path}``; a struct without bytes names a file beside the table.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm.auto import tqdm

from avsink.datasets.files.paths import whole
from avsink.datasets.files.tables import Row, TableError, numbered

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
    """Where the media of `root` are written: $AVSINK_CACHE, or beside the tables, or the user's cache."""
    if given := os.environ.get("AVSINK_CACHE"):
        return Path(given) / "unpacked"
    if os.access(root, os.W_OK):
        return root / "unpacked"
    return Path.home() / ".cache" / "avsink" / "unpacked"


def unpacked(table: Path, *, columns: Sequence[str], needs: Sequence[str], cache: Path) -> list[Row]:
    """The rows of a parquet file. In `columns` stands a Path of what was written, a name of a file beside, or None.

    Raises `TableError`, also for a table without the columns `needs`.
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
    """The rows of step 3, at least one; None if they, or media that they name, are not there (any more)."""
    try:
        rows = _rows_of(manifest)
        named = {entry[1] for row in rows for name in columns if (entry := row.get(name)) and entry[0] == "media"}
    except (OSError, ValueError, AttributeError, TypeError, LookupError):  # not there, or not as it was written
        return None
    there = {entry.name for entry in os.scandir(cache / "media")} if (cache / "media").is_dir() else set()
    return rows if rows and named <= there else None


def _check_columns(table: Path, names: Sequence[str], needs: Sequence[str]) -> None:
    if missing := [name for name in needs if name not in names]:
        raise TableError(f"{table.name} has no column {', '.join(missing)}; it has {', '.join(names)}")


def _write_media(table: Path, columns: Sequence[str], needs: Sequence[str], cache: Path) -> Iterator[dict]:
    """Steps 1 and 2; the rows with names for media, which are ``[folder, path]``."""
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(table) as file:
            _check_columns(table, file.schema_arrow.names, needs)
            progress = tqdm(total=file.metadata.num_rows, desc=f"unpacking {table.name}", unit="row", delay=3)
            with progress:
                for batch in file.iter_batches(batch_size=AT_ONCE):
                    for values in batch.to_pylist():
                        media = {name: _written(values[name], cache) for name in columns if name in values}
                        yield {name: media[name] if name in media else _plain(value) for name, value in values.items()}
                        progress.update()
    except (pyarrow.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # no space left, not allowed: not the table's fault
            raise
        raise TableError(f"{table.name} is no parquet file, or is cut off: {error}; fetch it again") from None


def _written(value: object, cache: Path) -> list[str] | None:
    name = ""
    if isinstance(value, dict):
        value, name = value.get("bytes"), value.get("path") or ""
    if isinstance(value, str):
        value, name = None, value
    if not value:
        return ["beside", name] if name else None
    if not isinstance(value, (bytes, bytearray)):
        raise TableError(f"a medium is {type(value).__name__}; bytes, or bytes and a path, are expected")
    relative = f"{hashlib.sha256(value).hexdigest()[:40]}{_ending(value, name)}"
    if not (path := cache / "media" / relative).is_file():
        with whole(path) as file:
            file.write(value)
    return ["media", relative]


def _ending(content: bytes, name: str) -> str:
    """What the bytes begin with tells more than a name; decoders do not need it, people do."""
    found = (ending for at, magic, ending in MAGIC if content[at : at + len(magic)] == magic)
    return next(found, Path(name).suffix.lower() or ".bin")


def _plain(value: object) -> object:
    """A row's bytes that are no known medium are not kept."""
    return None if isinstance(value, (bytes, bytearray)) else value


def _found(values: dict, columns: Sequence[str], cache: Path) -> dict:
    """A row as it is handed out: paths for what was written, names for what lies beside the table."""

    def medium(entry: list[str] | None) -> Path | str | None:
        return cache / "media" / entry[1] if entry and entry[0] == "media" else entry and entry[1]

    return {name: medium(value) if name in columns else value for name, value in values.items()}

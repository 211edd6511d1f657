"""Download a dataset from the Hugging Face Hub, and unpack it.

    python -m avsink.datasets.fetch av-odyssey --root DIR
    python -m avsink.datasets.fetch worldsense --root DIR --repo lmms-lab/WorldSense
    python -m avsink.datasets.fetch worldsense --root DIR --no-download               # unpack what is there already

If it is interrupted, run it again: it continues. Then `python -m avsink.datasets.check` says whether anything is
missing.
"""

from __future__ import annotations

import argparse
import sys

from avsink import resources
from avsink.datasets.files.sources import HUB, fetch
from avsink.datasets.files.zips import unzip

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=list(HUB))
    parser.add_argument("--root", type=resources.expanded, required=True, help="the folder to fetch into")
    copies = ", ".join(repo for published in HUB.values() for repo in published.others)
    parser.add_argument("--repo", default="", help=f"another copy, owner/name; the loaders read {copies}")
    parser.add_argument("--revision", help="a branch, tag or commit of it")
    parser.add_argument("--no-download", action="store_true", help="only unpack the zips in the folder")
    given = parser.parse_args(arguments)
    try:
        if given.no_download:
            print(f"{unzip(given.root)} files unpacked in {given.root}")
            return 0
        print(f"licence of {given.name}: {HUB[given.name].licence}", file=sys.stderr)
        fetch(given.name, given.root, repo=given.repo, revision=given.revision)
    except OSError as error:  # `MissingData` is one; a full disk is another
        print(error, file=sys.stderr)
        return 1
    check = f"python -m avsink.datasets.check {given.name} --root {given.root}"
    print(f"{given.name} is in {given.root}; check it with `{check}`")
    return 0


if __name__ == "__main__":
    sys.exit(main())

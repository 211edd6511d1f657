"""What README's commands write is ignored by git, and so by `make lint`; nothing of the repository is."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def written() -> set[str]:
    """What README's commands write into the folder in which they are given."""
    blocks = re.findall(r"```shell\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    commands = [shlex.split(line, comments=True) for line in "\n".join(blocks).replace("\\\n", " ").splitlines()]
    found = {command[2] for command in commands if command and command[0].endswith("papermill")}
    found |= {command[command.index("--out") + 1] + "/file" for command in commands if "--out" in command}
    return found | {"dist/avsink.whl", "results/file", "_build/html/index.html"}


@pytest.fixture
def repository(tmp_path):
    """An empty one with our .gitignore."""
    shutil.copy(ROOT / ".gitignore", tmp_path)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    return tmp_path


def ignored(repository: Path, paths: Iterable[str]) -> set[str]:
    command = ["git", "-C", repository, "check-ignore", "--stdin", "-z"]
    return set(subprocess.run(command, input="\0".join(paths), capture_output=True, text=True).stdout.split("\0")) - {
        ""
    }


def test_what_readmes_commands_write_is_ignored(repository):
    assert {"out.ipynb", "somewhere/file"} <= written()
    assert ignored(repository, written()) == written()


def test_nothing_of_the_repository_is_ignored(repository):
    folders = [
        ROOT / name for name in ("notebooks", "avsink", "book/scripts", "tests", "benchmarks", "data", "training")
    ]
    files = [path for folder in folders for path in folder.rglob("*.*") if "__pycache__" not in path.parts]
    paths = {str(path.relative_to(ROOT)) for path in files if path.is_file()}
    assert "notebooks/toyworld.ipynb" in paths and not ignored(repository, paths)

"""The README's own promises: its links lead somewhere."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_every_relative_link_and_picture_is_there():
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / "README.md").read_text())
    assert links and [link for link in links if not (ROOT / link).exists()] == []


def test_every_file_and_command_it_names_is_there():
    text = (ROOT / "README.md").read_text()
    modules = re.findall(r"python -m (avsink[\w.]*)", text)
    notebooks = re.findall(r"papermill (\S+\.ipynb)", text)
    assert modules and notebooks
    assert all((ROOT / Path(*module.split("."))).with_suffix(".py").exists() for module in modules)
    assert all((ROOT / notebook).exists() for notebook in notebooks)

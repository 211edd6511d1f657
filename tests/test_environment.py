"""The pip way, the conda way and the pins agree."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())


def _pins() -> dict[str, str]:
    lines = [line.partition("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines()]
    return dict(_pin(line) for line in lines if line)


def _pin(line: str) -> tuple[str, str]:
    match = re.fullmatch(r"([\w.-]+)==([\w.]+)", line)
    assert match, f"constraints.txt: `{line}` is no exact pin of a public version"
    return canonicalize_name(match[1]), match[2]


def test_every_direct_dependency_is_pinned_to_a_version_it_allows():
    pins = _pins()
    extras = PROJECT["optional-dependencies"].values()
    for text in [*PROJECT["dependencies"], *(text for extra in extras for text in extra)]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), text


def test_conda_installs_what_make_installs():
    pip = next(entry["pip"] for entry in CONDA["dependencies"] if isinstance(entry, dict))
    make = re.search(r'pip install .*--constraint (\S+) --editable "(\S+)"', (ROOT / "Makefile").read_text())
    assert pip == [f"--constraint {make[1]}", f"--editable {make[2]}"]


def test_conda_brings_a_python_that_the_package_allows():
    version = next(entry for entry in CONDA["dependencies"] if str(entry).startswith("python=")).partition("=")[2]
    assert SpecifierSet(PROJECT["requires-python"]).contains(version)


def test_every_extra_is_installed():
    make = (ROOT / "Makefile").read_text()
    assert all(extra in re.search(r"\.\[(\S+)\]", make)[1].split(",") for extra in PROJECT["optional-dependencies"])


def test_the_citation_names_this_version():
    import avsink

    assert f"version: {avsink.__version__}\n" in (ROOT / "CITATION.cff").read_text()

"""Where data and results are looked for, and what is said when there are none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from avsink import resources


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The package as if it were installed in an otherwise empty folder."""
    monkeypatch.delenv("AVSINK_HOME", raising=False)
    monkeypatch.setattr(resources, "PACKAGE", tmp_path / "site" / "avsink")
    monkeypatch.setattr(resources, "INSTALLED", tmp_path / "site" / "avsink" / "_data")
    return resources.PACKAGE


def test_a_checkout_is_found_around_the_package(monkeypatch):
    monkeypatch.delenv("AVSINK_HOME", raising=False)
    root = Path(__file__).resolve().parent.parent
    assert resources.checkout() == root
    assert resources.existing("papers", "flow_layers.csv") == root / "data" / "papers" / "flow_layers.csv"


def test_an_installed_package_has_its_own_data(installed):
    (installed / "_data" / "papers").mkdir(parents=True)
    assert resources.checkout() is None
    assert resources.existing("papers") == installed / "_data" / "papers"


def test_a_project_around_an_installed_package_is_not_taken_for_ours(installed):
    (installed / "_data").mkdir(parents=True)
    (installed.parent / "data").mkdir()
    (installed.parent / "pyproject.toml").touch()
    assert resources.data("papers") == installed / "_data" / "papers"


def test_another_checkout_can_be_named(installed, tmp_path, monkeypatch):
    (tmp_path / "checkout" / "data").mkdir(parents=True)
    monkeypatch.setenv("AVSINK_HOME", str(tmp_path / "checkout"))
    assert resources.existing() == tmp_path / "checkout" / "data"
    assert resources.results() == tmp_path / "checkout" / "results"


def test_missing_data_are_one_sentence(installed):
    with pytest.raises(resources.MissingResource) as caught:
        resources.existing("papers", "flow_layers.csv")
    said = str(caught.value)
    assert "papers/flow_layers.csv is not at" in said and "set AVSINK_HOME to a checkout" in said
    assert "\n" not in said and ". " not in said


def test_results_are_kept_where_they_are_asked_for(installed, tmp_path, monkeypatch):
    monkeypatch.delenv("AVSINK_RESULTS", raising=False)
    monkeypatch.chdir(tmp_path)
    assert resources.results() == tmp_path / "results"
    monkeypatch.setenv("AVSINK_RESULTS", str(tmp_path / "elsewhere"))
    assert resources.results() == tmp_path / "elsewhere"


def test_a_home_without_data_is_named_with_the_remedy(installed, tmp_path, monkeypatch):
    monkeypatch.delenv("AVSINK_RESULTS", raising=False)
    monkeypatch.setenv("AVSINK_HOME", str(tmp_path))
    for read in (resources.checkout, resources.results, lambda: resources.existing("papers")):
        with pytest.raises(resources.MissingResource) as caught:
            read()
        assert f"AVSINK_HOME is {tmp_path}, which has no data/" in str(caught.value) and "unset it" in str(caught.value)
    assert resources.data("models") == tmp_path / "data" / "models"  # cards of models are read at import


def test_importing_reads_no_data(tmp_path):
    code = "import avsink.datasets.selections, avsink.models, avsink.parameters"
    environment = {**os.environ, "AVSINK_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env=environment)

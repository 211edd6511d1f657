"""Where data and results are looked for, and what is said when there are none."""

from __future__ import annotations

import errno
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest
from disks import refusing

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


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def test_a_tilde_is_a_home_folder_at_the_beginning_and_there_alone(home):
    root = Path(pwd.getpwuid(0).pw_dir)
    expected = {"~": home, "~/": home, "~/a b/": home / "a b", "~root/x": root / "x", Path("~/x"): home / "x"}
    expected |= {path: Path(path) for path in ("x", "./~", "./~/x", "/data/~/x", "x~", "a b", ".", "é", "x\ny")}
    assert {path: resources.expanded(path) for path in expected} == expected
    (home.parent / " x").mkdir()
    assert resources.expanded(" x") == Path(" x")  # it is there, so it is meant


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("~nobody-of-that-name/x", "there is no user nobody-of-that-name; write ./~nobody-of-that-name/x"),
        (" ", "begins or ends with white space"),
        (" ~/x", "begins or ends with white space"),
        ("x\n", "begins or ends with white space"),
        ("a\0b", "it has a character that no file name can have"),
        ("\ud800", "it has a character that no file name can have"),
    ],
)
def test_what_is_hardly_a_path_is_refused_in_one_line(home, path, said):
    with pytest.raises(ValueError) as caught:
        resources.expanded(path)
    assert said in str(caught.value) and repr(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("path", [None, 5, b"x", ["x"]])
def test_what_is_no_path_is_named(path):
    with pytest.raises(TypeError, match="is no path; give text or a pathlib.Path"):
        resources.expanded(path)


def test_paths_in_the_environment_are_expanded_too(home, monkeypatch):
    monkeypatch.setenv("AVSINK_RESULTS", "~/kept")
    assert resources.results() == home / "kept" and resources.results("~/own") == home / "own"
    monkeypatch.setenv("AVSINK_RESULTS", "~nobody-of-that-name")
    with pytest.raises(ValueError, match="AVSINK_RESULTS is '~nobody-of-that-name': there is no user"):
        resources.results()
    assert resources.results("x") == Path("x")
    monkeypatch.setenv("AVSINK_RESULTS", "")
    assert resources.variable("AVSINK_RESULTS") is None


@pytest.mark.parametrize("value", ["~/checkout", "~nobody-of-that-name", "circle", " "])
def test_a_home_of_any_form_can_be_imported_and_is_checked(home, monkeypatch, value):
    (home / "checkout" / "data").mkdir(parents=True)
    (home.parent / "circle").symlink_to("circle")
    monkeypatch.setenv("AVSINK_HOME", value)
    assert resources.data("models").name == "models"
    if value == "~/checkout":
        assert resources.existing() == home / "checkout" / "data"
    else:
        with pytest.raises(resources.MissingResource, match="AVSINK_HOME is .*, which has no data/"):
            resources.existing()


def test_a_folder_that_can_be_written_is_left_as_it_is(tmp_path):
    assert resources.unwritable(tmp_path) == resources.unwritable(tmp_path / "not" / "there" / "yet") == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize(
    ("code", "said"),
    [
        (errno.EROFS, "its file system is read-only"),
        (errno.EACCES, "this user may not write there"),
        (errno.EPERM, "this user may not write there"),
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_why_a_folder_cannot_be_written(tmp_path, there, code, said):
    with refusing(tmp_path, code):
        assert resources.unwritable(tmp_path if there else tmp_path / "not" / "there") == said


def test_what_is_no_folder_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "nowhere").symlink_to("nothing")
    said = {"file": "is a file", "circle": "leads in a circle", "nowhere": "leads nowhere", "x" * 300: "too long"}
    for name, part in said.items():
        for below in ("", "deep/er"):
            assert part in resources.unwritable(tmp_path / name / below)

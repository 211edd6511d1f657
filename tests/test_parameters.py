"""Mistyped parameters: refused within seconds, with what is allowed."""

import errno
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from disks import refusing

from avsink import parameters
from avsink.parameters import ParameterError, check

GOOD = {
    "model": "tiny-omni",
    "dataset": "toyworld",
    "n_samples": 8,
    "window": None,
    "seed": 0,
    "device": "auto",
    "dtype": "float32",
    "results": "",
}


def problems(**changes) -> str:
    with pytest.raises(ParameterError) as caught:
        check(GOOD | changes, *GOOD)
    return str(caught.value)


def test_good_parameters_pass_whatever_else_a_notebook_knows():
    check(GOOD | {"In": [""], "Out": {}, "_": 1, "_ih": [], "exit": object(), "parameters": parameters}, *GOOD)
    check(GOOD | {"n_samples": None, "window": 7, "device": "cuda:1", "dtype": "auto"}, *GOOD)


def test_a_mistyped_name_is_refused_with_the_names_allowed():
    message = problems(n_sample=8)
    assert "n_sample: there is no such parameter. Did you mean n_samples?" in message
    assert "Allowed: model, dataset, n_samples, window" in message


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("model", "tiny-omn", "tiny-omni, tiny-omni-plain, Qwen/Qwen2.5-Omni-3B"),
        ("model", 7, "tiny-omni"),
        ("dataset", "toy", "toyworld"),
        ("n_samples", 0, "a whole number from 1 on, or None for all"),
        ("n_samples", "8", "a whole number"),
        ("n_samples", True, "a whole number"),
        ("window", 4, "an odd number from 1 on, or None for the model card's"),
        ("window", 99, "99 is wider than tiny-omni, which has 8 layers"),
        ("window", 9, "allowed: an odd number up to that"),
        ("seed", -1, "a whole number from 0 on"),
        ("device", "gpu", "auto, cpu, cuda"),
        ("dtype", "fp32", "auto, float32, bfloat16, float16"),
        ("results", None, "the path of a folder"),
        ("results", __file__, "the path of a folder"),
        *((name, value, "toyworld") for name in ("dataset",) for value in ([], {}, ["toyworld"])),
        ("model", "", "tiny-omni"),
        ("model", ["tiny-omni"], "tiny-omni"),
        ("device", ["cpu"], "auto, cpu, cuda"),
        ("dtype", {}, "auto, float32"),
    ],
)
def test_a_mistyped_value_is_refused_with_the_values_allowed(name, value, allowed):
    message = problems(**{name: value})
    assert f"- {name}: " in message and allowed in message


def test_everything_wrong_is_said_at_once():
    message = problems(model="huge", seed=-1, widow=3)
    assert all(f"- {name}: " in message for name in ("model", "seed", "widow"))


def test_a_missing_parameter_is_named():
    with pytest.raises(ParameterError, match="seed: the notebook needs it"):
        check({name: value for name, value in GOOD.items() if name != "seed"}, *GOOD)


def test_a_task_must_be_one_of_the_data(monkeypatch):
    monkeypatch.setattr(parameters, "tasks_of", lambda data, root: ["caption", "match"])
    check(GOOD | {"task": "match"}, *GOOD, "task")
    check(GOOD | {"task": None}, *GOOD, "task")
    with pytest.raises(ParameterError, match="allowed: caption, match, or None for all"):
        check(GOOD | {"task": "mach"}, *GOOD, "task")


def test_it_needs_no_large_library():
    code = "import sys, avsink.parameters; sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    ("name", "good", "bad", "allowed"),
    [
        ("manifest", __file__, "none.csv", 'the path of a file, or "" for none'),
        ("spans", "", 3, 'the path of a file, or "" for none'),
        ("masks", ".", __file__, 'the path of a folder, or "" for none'),
        ("each", None, 0, "a whole number from 1 on, or None for all"),
        ("number", 0, None, "a whole number from 0 on"),
    ],
)
def test_what_the_pages_on_hubs_need(name, good, bad, allowed):
    check({name: good}, name)
    with pytest.raises(ParameterError) as caught:
        check({name: bad}, name)
    assert f"- {name}: " in str(caught.value) and allowed in str(caught.value)


CELL = 'model = "tiny-omni"  # a model\nn_samples = 8  # how many\nseed = 0  # of the draw'


def test_parameters_are_those_that_the_notebooks_cell_declares():
    known = {"model": "tiny-omni", "n_samples": 4, "seed": 0, "In": ["", CELL, "# Parameters\nn_samples = 4\n"]}
    check(known | {"In": [*known["In"], "import avsink"]})
    with pytest.raises(ParameterError, match="sede: there is no such parameter. Did you mean seed?"):
        check(known | {"sede": 1, "In": ["", CELL, "# Parameters\nsede = 1\n"]})
    with pytest.raises(ParameterError, match="masks: there is no such parameter. Allowed: model, n_samples, seed"):
        check(known | {"masks": "", "In": ["", CELL, "# Parameters\nmasks = ''\n"]})
    with pytest.raises(ParameterError, match="seed: -1; allowed: a whole number from 0 on"):
        check(known | {"seed": -1})
    with pytest.raises(ParameterError, match="colour: there is no such parameter. Allowed: model, dataset"):
        check({"colour": "red", "In": ["", "colour = 'red'  # of the page"]})


@pytest.mark.parametrize(
    ("name", "value", "given"),
    [
        ("selection", [], {"dataset": "worldsense"}),
        ("selection", {"a": 1}, {"dataset": ["worldsense"]}),
        ("task", ["match"], {"dataset": "toyworld"}),
        ("task", "match", {"dataset": {}, "dataset_root": []}),
        ("task", "match", {"dataset": "toyworld", "dataset_root": [1]}),
        ("strictness", [], {}),
        ("strictness", {}, {}),
        ("structure", {}, {}),
        ("after", [1], {}),
        ("dataset_root", [], {"dataset": "toyworld"}),
    ],
)
def test_lists_and_dicts_are_problems_like_others(monkeypatch, name, value, given):
    monkeypatch.setattr(parameters, "tasks_of", lambda data, root: ["caption"])
    with pytest.raises(ParameterError):
        check(given | {name: value}, *given, name)


def test_a_mistyped_cell_can_be_corrected_without_a_restart():
    known = {"model": "tiny-omni", "n_samples": 8, "seed": 0}
    typo = CELL.replace("seed", "sede")
    with pytest.raises(ParameterError, match="sede: there is no such parameter. Did you mean seed?"):
        check(known | {"sede": 0, "In": ["", typo]})
    check(known | {"sede": 0, "In": ["", typo, CELL]})
    with pytest.raises(ParameterError, match="sede: there is no such parameter. Did you mean seed?"):
        check(known | {"sede": 1, "In": ["", CELL, "sede = 1"]})
    check(known | {"sede": 1, "In": ["", CELL, "sede = 1", "seed = 1"]})
    check(known | {"x": 3, "In": ["", CELL, "x = 3", CELL]})


def test_which_cells_declare_parameters():
    known = {"model": "tiny-omni", "n_samples": 8, "seed": 0}
    check(known | {"In": ["", CELL.replace("seed = 0", "seed: int = 0")]})
    check(known | {"In": ["", "# Parameters of this page\n" + CELL]})
    with pytest.raises(ParameterError, match="no cell of parameters has been run"):
        check(known | {"In": ["", "# Parameters\n" + CELL]})
    with pytest.raises(ParameterError, match="seed: the notebook needs it"):
        check({"model": "tiny-omni", "n_samples": 8, "In": ["", CELL, "{[]: 1}", "1 +"]})


@pytest.mark.parametrize("name", ["dataset_root", "manifest", "masks", "spans", "results", "model"])
@pytest.mark.parametrize(
    "value",
    [
        "~nobody-of-that-name/x",
        "a\0b",
        "\ud800",
        " ",
        " x",
        "x\n",
        "x" * 5000,
        "x/" * 5000,
        "circle",
        "nowhere",
        "pipe",
    ],
)
def test_odd_paths_are_problems_in_one_line_and_at_once(tmp_path, monkeypatch, name, value):
    monkeypatch.chdir(tmp_path)
    Path("circle").symlink_to("circle")
    Path("nowhere").symlink_to("nothing")
    os.mkfifo("pipe")
    about = {"dataset": "vggsound", "task": "sounding object"} if name == "dataset_root" else {}
    with pytest.raises(ParameterError) as caught:
        check({name: value} | about, name, *about)
    said = str(caught.value)
    assert f"\n- {name}: " in said and len(said.splitlines()) == 2


def test_a_tilde_is_the_home_folder_everywhere(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    check({name: "~/folder/" for name in ("dataset_root", "masks", "results")}, "dataset_root", "masks", "results")
    check({name: "~/file" for name in ("manifest", "spans")}, "manifest", "spans")
    with pytest.raises(ParameterError, match="results: nothing can be kept in .*/file: it, or a folder .* is a file"):
        check({"results": "~/file"}, "results")


@pytest.mark.parametrize("given", ["results", "AVSINK_RESULTS"])
@pytest.mark.parametrize(
    ("code", "said"), [(errno.EROFS, "its file system is read-only"), (errno.ENOSPC, "disk is full")]
)
def test_results_that_cannot_be_kept_are_said_before_anything_is_loaded(tmp_path, monkeypatch, given, code, said):
    monkeypatch.setenv("AVSINK_RESULTS", str(tmp_path) if given == "AVSINK_RESULTS" else "")
    value = {"results": str(tmp_path) if given == "results" else ""}
    with refusing(tmp_path, code):
        with pytest.raises(ParameterError, match=f"results: nothing can be kept in {tmp_path}: .*{said}") as caught:
            check(value, "results")
        assert len(str(caught.value).splitlines()) == 2
    part = tmp_path / "knockout.sweep" / "tiny-omni" / "0123" / "samples" / "a.parquet"
    part.parent.mkdir(parents=True)
    part.touch()
    with refusing(tmp_path, code), pytest.warns(UserWarning, match=f"results are read from {tmp_path}, .*{said}"):
        check(value, "results")
    with warnings.catch_warnings(action="error"):
        check(value, "results")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [part]


def test_wrong_variables_are_problems_too(tmp_path, monkeypatch):
    monkeypatch.setenv("AVSINK_RESULTS", "~nobody-of-that-name/x")
    with pytest.raises(ParameterError, match="results: .AVSINK_RESULTS is '~nobody-of-that-name/x': there is no user"):
        check({"results": ""}, "results")
    monkeypatch.delenv("AVSINK_RESULTS")
    monkeypatch.setenv("AVSINK_HOME", str(tmp_path))
    with pytest.raises(ParameterError, match="results: AVSINK_HOME is .*, which has no data/"):
        check({"results": ""}, "results")


@pytest.mark.parametrize("name", ["masks", "manifest", "dataset_root"])
def test_what_cannot_be_read_is_said(tmp_path, monkeypatch, name):
    path = tmp_path / "there"
    path.touch() if name == "manifest" else path.mkdir()
    for owner, call in ((os, "scandir"), (Path, "open")):
        monkeypatch.setattr(owner, call, refused(errno.EACCES))
    with pytest.raises(ParameterError, match=f"{name}: .*there cannot be read: Permission denied"):
        check({name: str(path)}, name)


def refused(code):
    def call(path, *_):
        raise OSError(code, os.strerror(code), str(path))

    return call


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        *(("n_samples", value, "a whole number from 1 on") for value in (2.0, np.int64(8), float("nan"), float("inf"))),
        *(("seed", value, "a whole number from 0 on") for value in (True, -(10**30), "0", b"0", 1j, {0})),
        ("window", 10**30, "an odd number from 1 on"),
        ("device", "cuda:\u0663", "auto, cpu, cuda"),  # a digit, but none that torch reads
        ("device", "cpu\n", "auto, cpu, cuda"),
        ("dtype", np.float32, "auto, float32"),
        ("results", 5, "the path of a folder"),
        ("results", ["x"] * 100_000, "the path of a folder"),
        ("dataset_root", Path("."), "the path of a folder, the id of a dataset"),
        ("structure", "x" * 100_000, "candidates, question, reference"),
        ("after", {"Video": True}, "a layer for some of Video"),
        ("after", {"Video": 1.0}, "a layer for some of Video"),
        ("after", {}, "a layer for some of Video"),
    ],
)
def test_values_of_another_type_are_problems_in_a_short_line(name, value, allowed):
    with pytest.raises(ParameterError) as caught:
        check({name: value}, name)
    said = str(caught.value)
    assert f"- {name}: " in said and allowed in said
    assert len(said) < 1000 and len(said.splitlines()) == 2

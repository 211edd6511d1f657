"""Arguments of `load_samples` that cannot be used: refused before any file is read, with what is allowed."""

from __future__ import annotations

import pytest

from avsink import datasets


@pytest.mark.parametrize(
    ("argument", "value", "said"),
    [
        ("kind", "clips", "unknown kind 'clips'; allowed: clip, interleaved, or None"),
        ("kind", ["clip"], "unknown kind"),
        ("n_samples", 2.5, "n_samples is 2.5; allowed: a whole number from 1 on, or None for all"),
        ("n_samples", True, "n_samples is True; allowed: a whole number"),
        ("n_samples", 0, "n_samples is 0; allowed: a whole number"),
        ("n_samples", "8", "n_samples is '8'; allowed: a whole number"),
        ("tasks", 3, "tasks is 3; allowed: a task, several tasks, or None for all"),
        ("tasks", [], r"tasks is \[\]; allowed: a task, several tasks, or None for all"),
        ("tasks", [3], r"tasks is \[3\]; allowed"),
    ],
)
def test_a_mistyped_argument_is_refused(monkeypatch, argument, value, said):
    monkeypatch.setattr(datasets, "load", lambda *_: pytest.fail("read the files"))
    with pytest.raises(ValueError, match=said):
        datasets.load_samples("toyworld", **{argument: value})


@pytest.mark.parametrize("name", [["toyworld"], "", None])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(ValueError, match="unknown dataset"):
        datasets.load(name)

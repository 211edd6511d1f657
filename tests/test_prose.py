"""What the book's own pages and the README promise: commands that can be run, words that the code uses."""

from __future__ import annotations

import csv
import re
import shlex
from pathlib import Path

import clip_sets
import nbformat
import published
import pytest
import yaml
from notebook_forms import parameters_cell

from avsink import parameters
from avsink.datasets import DATASETS, load_samples
from avsink.datasets.prompts import template
from avsink.results.verdicts import SETTLES
from avsink.toyworld.routes import ROUTES

ROOT = Path(__file__).resolve().parent.parent
PAGES = [*sorted((ROOT / "book").glob("*.md")), ROOT / "README.md"]
COLUMN = 80  # characters of code that a page shows on a desk
ROOTS = {"dataset_root": "dataset", "cross_root": "cross_dataset", "interleaved_root": "interleaved_dataset"}
FOLDERS = {
    "av-speakerbench": published.speakerbench_csv,
    "worldsense": published.worldsense_json,
    "av-odyssey": published.odyssey_bench,
    "vggsound": clip_sets.vggsound_test,
}
"""Dataset -> what writes it in small, in its published form, into a folder."""


def fenced(language: str) -> list[str]:
    """All blocks of code of one language, page by page."""
    return [found for page in PAGES for found in re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)]


def commands() -> list[list[str]]:
    """All lines of shell, as words; comments and the ends of lines that go on are removed."""
    lines = [line for block in fenced("shell") for line in block.replace("\\\n", " ").splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def given(words: list[str]) -> dict[str, object]:
    """The parameters that a papermill command sets."""
    found: dict[str, object] = {}
    for option, value in zip(words, words[1:], strict=False):
        if option == "-y":
            found |= yaml.safe_load(value)
    for at, option in enumerate(words):
        if option == "-p":
            found[words[at + 1]] = yaml.safe_load(words[at + 2])
    return found


PAPERMILL = list(dict.fromkeys(tuple(words) for words in commands() if words[0].endswith("papermill")))


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """Dataset -> a folder of it."""
    made = {}
    for name, write in FOLDERS.items():
        made[name] = tmp_path_factory.mktemp(name)
        write(made[name])
    return made


@pytest.mark.parametrize("words", PAPERMILL, ids=lambda words: " ".join(words[1:])[:60])
def test_a_command_fits_its_notebook_and_its_dataset(words, folders, tmp_path):
    """Every parameter is the notebook's own, and has a value that its check accepts on that dataset."""
    notebook, changes = nbformat.read(ROOT / words[1], as_version=4), given(list(words))
    for root, dataset in ROOTS.items():
        if root in changes:
            changes[root] = str(folders[changes[dataset]])
    for name, value in changes.items():
        if name == "model" and str(value).startswith("/"):  # somebody's folder
            changes[name] = str(ROOT / "data/models/tiny-omni")
        if name == "manifest":
            (tmp_path / "manifest.csv").touch()
            changes[name] = str(tmp_path / "manifest.csv")
    injected = "\n".join([parameters.INJECTED, *(f"{name} = {value!r}" for name, value in changes.items())])
    namespace: dict = {"In": [parameters_cell(notebook).source, injected]}
    for source in namespace["In"]:
        exec(source, namespace)
    parameters.check(namespace)


def test_commands_of_datasets_name_one():
    asked = [words for words in commands() if words[1:2] == ["-m"] and words[2].startswith("avsink.datasets.")]
    asked = [words[3] for words in asked if words[2].rpartition(".")[2] in ("check", "fetch")]
    assert asked and set(asked) <= set(DATASETS)


def test_a_command_that_forgets_the_task_is_refused(folders, tmp_path):
    """The notebook's own task is one of the toy world."""
    forgetful = ("papermill", "notebooks/flow_finding2_pathways.ipynb", "out.ipynb", "-p", "dataset", "worldsense")
    with pytest.raises(parameters.ParameterError, match="worldsense has no task 'anchor and target'"):
        test_a_command_fits_its_notebook_and_its_dataset(
            (*forgetful, "-p", "dataset_root", "/data/worldsense"), folders, tmp_path
        )


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "README.md"], ids=lambda page: page.stem)
def test_no_line_of_code_is_cut_off_on_a_page(page):
    """What does not fit is out of sight until somebody scrolls sideways, such as the parameter that matters most."""
    blocks = re.findall(r"```(?:shell|python|json)\n(.*?)```", page.read_text(), re.DOTALL)
    assert [line for block in blocks for line in block.splitlines() if len(line) > COLUMN] == []


def test_every_parameter_of_a_notebook_is_in_the_table():
    table = (ROOT / "book/rerun.md").read_text().split("| parameter |")[1].split("\n\n")[0]
    assert [name for name in parameters.RULES if f"`{name}`" not in table] == []


def test_samples_in_python_are_asked_for_by_names_that_exist():
    calls = [call for block in fenced("python") for call in re.findall(r"load_samples\((.*?)\)\n", block, re.DOTALL)]
    names = {name for call in calls for name in re.findall(r"(\w+)=", call)}
    assert names and names <= set(load_samples.__kwdefaults__)


def test_every_template_of_prompts_is_named():
    text = (ROOT / "book/datasets.md").read_text()
    names = [path.stem for path in (ROOT / "data/prompts").glob("*.json")]
    assert names and [name for name in names if f"`{name}`" not in text] == []


def test_the_template_on_the_page_can_be_used(tmp_path):
    (shown,) = fenced("json")
    (tmp_path / "own.json").write_text(shown)
    found = template(tmp_path / "own.json", "worldsense")
    found.check_tasks(["Audio Change"])
    assert found.system == "You are a helpful assistant." and list(found.tasks) == ["Audio Change"]


@pytest.mark.parametrize("page", ["glossary", "methods"])
def test_every_outcome_of_a_verdict_is_explained(page):
    text = " ".join((ROOT / f"book/{page}.md").read_text().split())
    assert [
        word for word in ("supported", "not supported", *SETTLES) if not re.search(rf"[*|] ?{word} ?[*|]", text)
    ] == []


def test_what_the_released_sinks_are_said_to_be_is_what_they_are():
    with (ROOT / "data/papers/hubs_released_halves.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    shares = []
    for rule in ('by="sign"', "default"):
        own = [row for row in rows if row["rule"] == rule]
        shares.append(sum(int(row["cross-modal"]) for row in own) / sum(int(row["sinks"]) for row in own))
    said = re.search(
        r"about (\d+) % of the sinks are read mostly by the other sense, and the halves call (\d+) % cross-modal",
        " ".join((ROOT / "book/methods.md").read_text().split()),
    )
    assert said and [int(number) for number in said.groups()] == [round(100 * share) for share in shares]


def test_no_page_cites_sections_of_hubs():
    """Only its figures and tables are numbered in the texts at hand."""
    cited = re.compile(r"Hubs('s?)?,? \(?(section |sections |§ ?)?\d\.\d|Hubs('s?)?,? \(?(sections? |§ ?)\d|\bHubs 5\b")
    assert [(page.name, found.group()) for page in PAGES for found in cited.finditer(page.read_text())] == []


def test_the_introduction_draws_a_knockout_that_its_page_shows_to_bite():
    """Along a route that was taught, in layers that count from 0; eye and ear are told the same numbers."""
    opened, blocked = ((ROOT / f"book/drawings/flow_{name}.svg").read_text() for name in ("open", "blocked"))
    (pathway,) = re.findall(r">(\S+↛\S+) blocked<", blocked)
    assert pathway in {name for route in ROUTES for name in route.pathways}
    for drawing in (opened, blocked):
        layers = [int(number) for number in re.findall(r">layer (\d+)<", drawing)]
        assert min(layers) == 0 and max(layers) + 1 == drawing.count('class="last" cx=')
        assert re.search(r"(\d+) percent", drawing).group(1) == re.search(r">(\d+)%<", drawing).group(1)

"""VGGSounder: several labels per clip, one of which is asked; the version is pinned and reported."""

from __future__ import annotations

import importlib.metadata
import sys

import pytest
from clip_sets import GROUPS, LABELS, SOUNDER, STEMS, vggsounder, write_clips, write_sounder, write_stat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avsink.datasets import load
from avsink.datasets.check import main
from avsink.datasets.files.sources import MissingData
from avsink.datasets.files.tables import TableError
from avsink.datasets.twenty_way import draw
from avsink.datasets.vggsounder import load as load_sounder
from avsink.datasets.vggsounder import packaged


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Clips and super-classes; each test writes its labels."""
    folder = write_clips(tmp_path_factory.mktemp("vggsounder"))
    write_stat(folder)
    return folder


def loaded_from(root, rows, name="labels.csv"):
    return load_sounder(root, csv_path=write_sounder(root / name, rows))


def test_a_clip_is_one_sample_with_all_its_labels(tmp_path):
    vggsounder(tmp_path)
    loaded = load("vggsounder", tmp_path)
    assert (
        not loaded.problems and not loaded.lacking and loaded.version == "labels of 0.1.6 by the file's name (7 rows)"
    )
    assert [sample.id for sample in loaded.samples] == [f"vggsounder/{stem}" for stem in STEMS]
    assert [sample.truth["label"] for sample in loaded.samples] == [
        "male speech, man speaking", "people coughing", "donkey, ass braying", "playing tennis", "playing game 1",
    ]  # fmt: skip
    for sample, stem in zip(loaded.samples, STEMS, strict=True):
        assert sample.options[ord(sample.answer) - 65] == sample.truth["label"] and len(sample.options) == 20
        assert sample.media[0].path.name == f"{stem}.mp4"
        own = [row for row in SOUNDER if row[0] == stem]
        for modality in ("A", "V", "AV"):
            assert sample.truth["labels"][modality] == [row[1] for row in own if row[2] == modality]
        flags = [sample.truth[name] for name in ("background_music", "static_image", "voice_over")]
        assert (
            flags == own[0][3:] and sample.truth["modality"] == {row[1]: row[2] for row in own}[sample.truth["label"]]
        )


def test_what_is_asked_has_one_right_answer(root):
    """Every pair of labels, against what the options say: the true one is heard, and no other one is."""
    pairs = [(x, y) for x in LABELS[::4] for y in LABELS[::5] if x != y]
    asked = 0
    for first, second in pairs:
        rows = [[STEMS[k], first, "AV", False, False, False] for k in range(3)]
        rows += [[STEMS[k], second, m, False, False, False] for k, m in enumerate(("A", "V", "AV"))]
        loaded = loaded_from(root, rows)
        heard = {STEMS[0]: {first, second}, STEMS[1]: {first}, STEMS[2]: {first, second}}
        assert len(loaded.samples) + len(loaded.problems) == 3
        for sample in loaded.samples:
            assert set(sample.options) & heard[sample.truth["clip"]] == {sample.truth["label"]}
            asked += len(heard[sample.truth["clip"]]) == 2
        assert STEMS[1] in {sample.truth["clip"] for sample in loaded.samples}
        for problem in loaded.problems:
            assert "the question would have 2 right answers" in problem.reason
    assert 0 < asked < 2 * len(pairs)


def test_seen_and_heard_comes_before_heard_alone(root):
    ours, theirs = draw(GROUPS).of("playing tennis").labels, draw(GROUPS).of("animal 0").labels
    tennis = next(label for label in GROUPS["sports"] if label not in theirs)
    animals = [label for label in GROUPS["animals"] if label not in ours]

    def label_of(*rows):
        return loaded_from(root, [[STEMS[0], *row, False, False, False] for row in rows]).samples[0].truth["label"]

    assert label_of((animals[0], "A"), (tennis, "AV")) == tennis
    assert label_of((animals[0], "A"), (tennis, "A")) == animals[0]
    assert label_of((tennis, "V"), (animals[0], "A")) == animals[0]
    assert label_of((animals[0], "AV"), (animals[1], "AV"), (tennis, "A")) == tennis  # two animals would be right


def test_versions_are_told_by_the_number_of_rows(root):
    def version(n_rows, name):
        return loaded_from(
            root, [SOUNDER[0]] + [[f"{k}", "x", "V", False, False, False] for k in range(n_rows - 1)], name
        )

    assert version(29_509, "a.csv").version == "labels of 1.0"
    assert version(33_184, "b.csv").version == "labels of 0.1.6, as in the pip package"
    assert version(26_001, "c_0.1.6.csv").version == "labels of 0.1.6, as in the repository"
    assert version(5, "d.csv").version == "labels of an unknown version (5 rows)"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A function that installs a package of a version with the named files."""

    def install(version, *names):
        folder = tmp_path / "site" / "vggsounder"
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("raise RuntimeError('its code is not run')")
        for name in names:
            write_sounder(folder / "data" / name)
        info = tmp_path / "site" / f"vggsounder-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vggsounder\nVersion: {version}\n")
        monkeypatch.syspath_prepend(str(tmp_path / "site"))
        assert importlib.metadata.version("vggsounder") == version

    yield install
    sys.modules.pop("vggsounder", None)


def test_the_labels_of_the_pip_package(root, package):
    package("0.1.6", "vggsounder.csv", "vggsounder+background-music.csv")
    loaded = load_sounder(root)
    assert loaded.version == "labels of 0.1.6 of the pip package" and len(loaded.samples) == 5
    assert loaded.tables == (packaged(),) and packaged().name == "vggsounder.csv"


def test_a_newer_package_without_the_old_labels_is_refused(root, package):
    package("1.0", "vggsounder.csv")
    with pytest.raises(MissingData, match="the installed vggsounder is 1.0 and has no labels of 0.1.6: `pip install"):
        load_sounder(root)


def test_a_newer_package_with_the_old_labels(package):
    package("1.0", "vggsounder.csv", "vggsounder_0.1.6.csv")
    assert packaged().name == "vggsounder_0.1.6.csv"


def test_what_is_not_here_says_what_to_do(root, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingData, match="labels of VGGSounder are not here: `pip install vggsounder==0.1.6`"):
        load_sounder(root)
    with pytest.raises(MissingData, match="there is no file"):
        load_sounder(root, csv_path=root / "none.csv")
    (root / "other.csv").write_text("video_id,label\nx,y\n")
    with pytest.raises(TableError, match="has no column modality"):
        load_sounder(root, csv_path=root / "other.csv")


BROKEN = [
    ([STEMS[1], "", "AV", False, False, False], "has no label"),
    ([STEMS[1], "animal 3", "VA", False, False, False], "its modality is 'VA'; allowed: A, V, AV"),
    ([STEMS[1], "animal 3", "AV", "no", False, False], "its background_music is 'no'; True or False is expected"),
    ([STEMS[1], "unheard of", "AV", False, False, False], "its label 'unheard of' is in no set of 20 labels"),
    ([STEMS[1], "animal 3", "V", False, False, False], "none of its labels is heard"),
    (["x", "animal 3", "AV", False, False, False], "is not a clip name"),
    (["zzzzzzzzzzz_000000", "animal 3", "AV", False, False, False], "missing clip zzzzzzzzzzz_000000.mp4"),
    (["", "animal 3", "AV", False, False, False], "it has no video_id"),
]


@pytest.mark.parametrize(("row", "reason"), BROKEN)
def test_a_broken_row_is_a_problem_and_the_others_stay(root, row, reason):
    loaded = loaded_from(root, [SOUNDER[0], row, SOUNDER[4]])
    (problem,) = loaded.problems
    assert reason in problem.reason and problem.where.startswith("labels.csv, row") and len(loaded.samples) == 2


def test_rows_of_a_clip_that_contradict_each_other(root):
    again = [STEMS[0], "male speech, man speaking", "V", False, False, False]
    (problem,) = loaded_from(root, [SOUNDER[0], again]).problems
    assert "labels.csv, row 2: it has the label 'male speech, man speaking' a second time" in problem.reason
    other = [STEMS[0], "playing tennis", "A", False, True, False]
    (problem,) = loaded_from(root, [SOUNDER[0], other]).problems
    assert "its static_image is not that of the clip's other rows" in problem.reason


def test_the_check_names_the_version(tmp_path, capsys):
    vggsounder(tmp_path)
    assert main(["vggsounder", "--root", str(tmp_path)]) == 0
    assert "0.1.6" in capsys.readouterr().out


ROWS = st.tuples(
    st.sampled_from([*STEMS[:3], "", "x"]),
    st.sampled_from([*LABELS[:3], *GROUPS["animals"][:3], "", "unheard of"]),
    st.sampled_from(["A", "V", "AV", "", "av"]),
    st.sampled_from([True, False, "false", ""]),
).map(lambda row: [*row, False, True])


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ROWS, min_size=1, max_size=10))
def test_each_clip_is_one_sample_or_one_problem(root, rows):
    loaded = loaded_from(root, rows)
    clips = len({row[0] for row in rows if row[0]}) + sum(not row[0] for row in rows)
    assert len(loaded.samples) + len(loaded.problems) == clips
    assert not {sample.id for sample in loaded.samples} & {problem.id for problem in loaded.problems}

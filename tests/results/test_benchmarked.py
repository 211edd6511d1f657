"""The tables of the benchmarks' page, from the files that are committed."""

from avsink.instruments.pathways import CLIP
from avsink.results import benchmarked


def test_parity_was_shown_for_all_families():
    rows = benchmarked.parity()
    assert len(rows) == 4 and (rows["random plans"] >= 200).all()
    assert (rows["max |Δ logit|, float32"] <= 1e-4).all() and (rows["other answers"] == 0).all()


def test_speed_has_every_pathway_and_the_sentence_names_the_extremes():
    rows = benchmarked.speed()
    ways = rows[rows["kind"] == "pathway"]
    assert set(ways["label"]) == set(CLIP)
    slowest = ways.loc[ways["ratio"].idxmin(), "label"]
    assert slowest in benchmarked.speed_in_words(rows) and "1,000 tokens" in benchmarked.speed_in_words(rows)
    assert benchmarked.speed("growth")["tokens"].unique().tolist() == [500, 1000, 2000, 4000]


def test_groups_memory_and_observers_are_tables():
    assert len(benchmarked.groups(benchmarked.speed())) == 5
    assert "1,000 tokens" in benchmarked.memory() and benchmarked.memory().notna().all(axis=None)
    assert benchmarked.observers()["run"].tolist() == ["plain", "observed", "eager"]
    assert "12 layers of width 256" in benchmarked.setting("knockout")


def test_tracing_at_a_published_width_is_near_its_arithmetic_and_its_memory_near_a_plain_pass():
    table = benchmarked.tracing()
    assert table["conditions"].tolist() == [26, 26] and table["tokens"].tolist() == [2000, 2000]
    _, wide = table.to_dict("records")
    assert wide["decoder"] == "8 layers of width 2,048" and wide["times faster"] >= 2.5 and wide["× arithmetic"] <= 1.3
    assert wide["memory, × plain pass"] <= 1.3 and wide["without weights"] <= 1.3


def test_discarding_saves_in_time_what_it_saves_in_arithmetic():
    table = benchmarked.discarding()
    telling = table.dropna(subset=["of it, as time"])
    assert set(table["tokens"]) == {2000} and set(telling["config"]) == {
        "Discard Audio",
        "Discard Video",
        "Discard All",
    }
    assert (telling["prefill saved"] / telling["arithmetic saved"] >= 0.85).all()

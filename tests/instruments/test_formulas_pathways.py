"""The edges of every named pathway, found by looking at each pair of tokens of a prompt (tests/formulas/flow.py)."""

from __future__ import annotations

import pytest
from formulas.flow import CUT, edges
from formulas.prompts import CLIP, MATCH, layout_of

from avsink.instruments import pathways
from avsink.instruments.pathways import PATHWAYS

PROMPTS = {"clip": CLIP, "several items": MATCH}


def test_the_pathways_are_those_of_the_paper_the_ways_out_and_those_beside():
    assert set(PATHWAYS) == set(CUT) and all(PATHWAYS[name].name == name for name in CUT)
    figures = {3: 3, 4: 5, 5: 7, 6: 8, 9: 4, 10: 10}  # figure -> how many curves a panel of it has
    shown = {figure: getattr(pathways, f"FIGURE_{figure}") for figure in figures}
    assert {figure: len(set(names)) for figure, names in shown.items()} == figures
    ours = {*pathways.OUT, *pathways.BESIDE}
    assert {name for names in shown.values() for name in names} == set(CUT) - ours


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("name", CUT)
def test_a_pathway_is_made_of_the_edges_between_its_tokens(name, prompt):
    tokens = PROMPTS[prompt]
    plan = PATHWAYS[name].plan(layout_of(tokens), layers=range(1, 3))
    found = {(j, i) for one in plan for j in one.source.tolist() for i in one.target.tolist() if j <= i}
    assert found == edges(name, tokens)
    assert all(one.layers == (1, 2) for one in plan)


@pytest.mark.parametrize("name", CUT)
def test_every_pathway_has_edges_in_one_of_the_prompts(name):
    assert any(edges(name, tokens) for tokens in PROMPTS.values())

"""Flow's figures 2 and 7 as rules: rows as the paper shows them support all, and each departure contradicts its own."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from avsink.papers.flow.claims_sinks import FIGURE_2, FIGURE_7
from avsink.results.verdicts import judge

LAYERS, DIMS = 36, "318 1819 1874"
STATEMENTS = ("norms", "dimensions", "loud", "present", "persists", "later", "late")


def rows_of(
    *, language=range(2, 36), vision=range(31, 36), own=DIMS, norm=30.0, loud=3.0, spike=31, n=12
) -> pd.DataFrame:
    """Samples as in the figures: layers that have sinks, vision's dimensions, their norm, and video's at layer 0."""
    rng, rows = np.random.default_rng(0), []
    for sample in range(n):
        for layer in range(LAYERS):
            for group, there, dims in (("system", language, DIMS), ("video", vision, own)):
                video, noise = group == "video", 1 + 0.05 * rng.normal()
                rows.append(
                    {
                        "sample": f"s{sample}",
                        "layer": layer,
                        "n_layers": LAYERS,
                        "group": group,
                        "tokens": 9,
                        "sinks": int(layer in there),
                        "dimensions": dims if layer in there else "",
                        "share": (0.3 if layer >= spike else 0.02) * noise if video else 0.5,
                        "l2": (loud if video and not layer else 1.0) * noise,
                        "l2_read": norm * noise if video and layer >= spike else 1.0,
                        "l2_all": 1.0,
                    }
                )
    return pd.DataFrame(rows)


def outcomes(rows: pd.DataFrame) -> dict[str, str]:
    return dict(zip(STATEMENTS, [v.verdict for v in judge((*FIGURE_2, *FIGURE_7), rows)], strict=True))


def test_what_the_figures_show_supports_every_statement():
    assert outcomes(rows_of()) == dict.fromkeys(STATEMENTS, "supported")
    verdicts = judge((*FIGURE_2, *FIGURE_7), rows_of())
    assert all("(n = 12)" in verdict.because and "against above" in verdict.because for verdict in verdicts)


@pytest.mark.parametrize(
    ("change", "contradicted"),
    [
        ({"norm": 2.0}, {"norms"}),
        ({"own": "7 9"}, {"dimensions"}),
        ({"own": f"{DIMS} 7 9 11 13"}, {"dimensions"}),
        ({"loud": 0.5}, {"loud"}),
        ({"language": range(20, 36)}, {"present"}),
        ({"language": (*range(2, 10), 31, 32)}, {"persists"}),
        ({"language": range(33, 36), "vision": range(31, 36), "spike": 34}, {"present", "later"}),
        ({"vision": range(2, 36)}, {"later", "late"}),
        ({"vision": range(10, 36)}, {"late"}),
    ],
)
def test_each_departure_contradicts_its_own_statements(change, contradicted):
    found = outcomes(rows_of(**change))
    assert {name for name, outcome in found.items() if outcome == "not supported"} == contradicted
    assert {found[name] for name in STATEMENTS if name not in contradicted} == {"supported"}


def test_what_is_lacking_is_said():
    verdicts = dict(zip(STATEMENTS, judge((*FIGURE_2, *FIGURE_7), rows_of(language=())), strict=True))
    assert verdicts["present"].verdict == "not supported"
    for name, lacking in (
        ("dimensions", "no sample has a vision sink and a language sink at the spike (n = 12)"),
        ("persists", "no sample has a language sink before the spike (n = 12)"),
        ("later", "no sample has a vision sink and a language sink (n = 12)"),
    ):
        assert (verdicts[name].verdict, verdicts[name].because) == ("not measured", lacking)
    assert outcomes(rows_of(vision=()))["late"] == "not measured"
    assert set(outcomes(pd.DataFrame()).values()) == {"not measured"}
    assert set(outcomes(rows_of(n=3)).values()) == {"too few"}
    without = rows_of()
    without.loc[without["group"] == "video", "tokens"] = 0
    without.loc[without["group"] == "video", ["share", "l2", "l2_read"]] = np.nan
    assert outcomes(without)["norms"] == "not measured"

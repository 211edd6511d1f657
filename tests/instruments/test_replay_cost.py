"""The tables of what replays compute, against the rows that the layers are really given."""

import pytest
import torch
from tiny import TinyModel, prompt

from avsink.engine.foreign import forget
from avsink.engine.run import clean_run
from avsink.instruments import replay_cost
from avsink.instruments.knockout import window
from avsink.instruments.pathways import PATHWAYS


@pytest.fixture(scope="module")
def model():
    return TinyModel()


@pytest.fixture(scope="module")
def run(model):
    run = clean_run(model, prompt(model))
    layout = run.inputs.layout
    parts = {"video": layout.video, "audio": layout.audio, "question": layout.question, "last": layout.last}
    parts["system"], parts["header"] = torch.arange(3), torch.tensor([layout.n - 2])
    layout.groups = lambda: {**parts, "other": torch.tensor([], dtype=torch.long)}
    return run


def test_what_is_said_to_be_computed_is_computed(model, run, monkeypatch):
    """Counted at the layers: rows that only lend their keys are given to a layer, too, but do not leave it."""
    left, kind = [], type(model.decoder.layers[0])
    own = kind.forward

    def counting(self, states, **kwargs):
        found = own(self, states, **kwargs)
        left.append(found.shape[1])
        return found

    monkeypatch.setattr(kind, "forward", counting)  # of the class, since hooks are refused
    forget(model)  # an exchanged class would be refused, too
    for name in ("Question↛Last", "Audio↮Video", "Video↛Question"):
        rows = replay_cost.computed(run, k=3, pathways=[name], centres=[2])
        left.clear()
        run.replay([PATHWAYS[name].plan(run.inputs.layout, layers=window(2, k=3, n_layers=4))])
        assert left == rows.groupby("layer")["tokens"].sum().tolist()
        assert (rows["stop"] - rows["start"] == rows["tokens"]).all()
    monkeypatch.undo()
    forget(model)


def test_savings_add_up(run):
    found = replay_cost.savings(run, k=1, pathways=["Question↛Last", "Video↛Last"]).set_index("pathway")
    assert found.loc["Question↛Last", "rows"] == 4 + 3 + 2 + 1
    assert found.loc["all in one replay", "rows"] == 2 * (4 + 3 + 2 + 1)
    assert found.loc["all in one replay", "windows"] == 8
    assert (found["gain"] == found["full"] / found["rows"]).all()


def test_the_stripes_cover_the_prompt(run):
    stripes = replay_cost.segments(run.inputs.layout)
    assert stripes["start"].tolist()[1:] == stripes["stop"].tolist()[:-1]
    assert stripes["start"].iloc[0] == 0 and stripes["stop"].iloc[-1] == run.inputs.layout.n
    assert stripes["kind"].tolist()[:3] == ["system", "video", "audio"]


def test_windows_and_centres_that_do_not_fit_the_model_are_refused(run):
    with pytest.raises(ValueError, match="a window of 7 layers holds all 4 layers of this model; take .* at most 5"):
        replay_cost.savings(run, k=7, pathways=["Question↛Last"])
    with pytest.raises(ValueError, match="there is no layer 4"):
        replay_cost.computed(run, k=3, pathways=["Question↛Last"], centres=[4])

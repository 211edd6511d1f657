"""The README's own promises: its links lead somewhere."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_every_relative_link_and_picture_is_there():
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / "README.md").read_text())
    assert links and [link for link in links if not (ROOT / link).exists()] == []


def test_every_file_and_command_it_names_is_there():
    text = (ROOT / "README.md").read_text()
    modules = re.findall(r"python -m (avsink[\w.]*)", text)
    notebooks = re.findall(r"papermill (\S+\.ipynb)", text)
    assert modules and notebooks
    assert all((ROOT / Path(*module.split("."))).with_suffix(".py").exists() for module in modules)
    assert all((ROOT / notebook).exists() for notebook in notebooks)


def test_its_figures_are_those_of_the_evaluation():
    text = (ROOT / "README.md").read_text()
    found = json.loads((ROOT / "data/models/tiny-omni/evaluation.json").read_text())

    def percent(*names: str) -> list[str]:
        return [f"{100 * found[name]['value']:.0f} %" for name in names]

    for row, job in (("sounding object", "sounding_object_clean"), ("anchor and target", "anchor_and_target")):
        cells = " | ".join(percent(job, f"{job}_sound_alone", f"{job}_picture_alone"))
        assert re.search(rf"\| {row}.*n = {found[job]['n']}\) \| {cells} \|", text), row
    matching = ", ".join(percent("audio reference → image candidates", "image reference → audio candidates"))
    assert f"| {matching} |" in text
    assert f"| {found['caption_f1']['value']:.2f} |" in text and f"| {percent('ambiguous_hallucinates')[0]} |" in text
    assert f"| {found['audio_dominant']['count']}, {found['video_dominant']['count']} |" in text

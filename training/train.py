"""Train a teaching model: ``python -m training.train --model tiny-omni``, or ``tiny-omni-plain``.

The stages; the result of each is saved in `--work` and reused:

1. `letters`: the decoder learns the 20-way look-up from text alone (`lookups`);
2. `bank`: seconds of picture and sound are rendered, encoded and decoded (`bank`);
3. `video`, `audio`: the towers learn to name the object of a second in the decoder's own word embeddings (`towers`);
4. `hubs`: the decoder learns which tokens of a clip are sinks, what they read and what reads them (`hubs`); skipped for
   `tiny-omni-plain`, the control;
5. `lessons`: the decoder learns the four jobs from the towers' outputs, along a known route (`lessons`, `marks`,
   `teaching`);
6. `finish`: a shorter stage, mainly of captions, in which each kind of hub must be read separately;
7. `interleaved`: a last one, half of interleaved prompts: hubs become sinks there, too, and labels must be read.

Everything is seeded, but sums on several cores are not always added in the same order: two trainings agree in their
evaluation, not bit by bit.
"""

from __future__ import annotations

import argparse
import shutil
from functools import partial
from pathlib import Path

import torch

from avsink import resources
from avsink.models.cards import CARDS, write_facts
from avsink.testing.untrained_omni import build_model, build_processor, build_tokenizer
from training.bank import build_bank
from training.lessons import Teacher
from training.log import Log
from training.lookups import WordIds, teach_letters
from training.teaching import FINISH, INTERLEAVED, SHARES, teach_hubs, teach_lessons
from training.towers import features, teach_tower


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=["tiny-omni", "tiny-omni-plain"], default="tiny-omni")
    parser.add_argument("--out", type=resources.expanded, help="the model's folder, by default data/models/<model>")
    parser.add_argument("--work", type=resources.expanded, help="the folder of the stages, by default scratch/<model>")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clips", type=int, default=4000)
    parser.add_argument("--stills", type=int, default=1200)
    parser.add_argument("--tower-steps", type=int, default=700)
    parser.add_argument("--steps", type=int, default=1300)
    parser.add_argument("--finishing-steps", type=int, default=700)
    parser.add_argument("--hub-steps", type=int, default=500)
    parser.add_argument("--interleaved-steps", type=int, default=700)
    parser.add_argument(
        "--until", choices=["letters", "video", "audio", "hubs", "lessons", "finish"], help="stop after this stage"
    )
    arguments = parser.parse_args()
    entry = CARDS[arguments.model]
    out = arguments.out or Path("data/models") / entry.name
    work = arguments.work or Path("scratch") / entry.name
    work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(arguments.seed)
    tokenizer = build_tokenizer()
    model = build_model(tokenizer, seed=arguments.seed)
    words = WordIds(tokenizer)

    def stage(name: str, teach) -> bool:
        """Do a stage, or load its saved result; return whether to stop after it."""
        path = work / f"{name}.pt"
        if path.exists():
            model.load_state_dict(torch.load(path, weights_only=True))
        else:
            teach(Log(work / "log.jsonl", name))
            torch.save(model.state_dict(), path)
        return arguments.until == name

    if stage("letters", lambda log: teach_letters(model, tokenizer, log, seed=arguments.seed)):
        return
    if not (work / "bank.pt").exists():
        banks = build_bank(clips=arguments.clips, stills=arguments.stills, seed=arguments.seed + 1)
        torch.save(banks, work / "bank.pt")
    see, hear = torch.load(work / "bank.pt", weights_only=False)
    for which, bank in (("video", see), ("audio", hear)):
        if stage(which, lambda log, w=which, b=bank: teach_tower(model, b, words, w, log, steps=arguments.tower_steps)):
            return
    towers = features(model, see, "video"), features(model, hear, "audio")
    hubs = {"hubs": entry.hubs, "sink_dims": entry.sink_dims}
    teacher = Teacher(tokenizer, *towers, seed=arguments.seed, **hubs)
    last_teacher = Teacher(tokenizer, *towers, seed=arguments.seed + 1, interleaved=True, **hubs)
    last = {"steps": arguments.interleaved_steps, "shares": INTERLEAVED, "rate": 0.005, "apart": True}
    stages = {
        "hubs": partial(teach_hubs, teacher=teacher, steps=arguments.hub_steps, rate=0.008),
        "lessons": partial(teach_lessons, teacher=teacher, steps=arguments.steps, shares=SHARES, rate=0.008),
        "finish": partial(
            teach_lessons, teacher=teacher, steps=arguments.finishing_steps, shares=FINISH, rate=0.006, apart=True
        ),
        "interleaved": partial(teach_lessons, teacher=last_teacher, **last),
    }
    if not entry.hubs:
        del stages["hubs"]
    for name, teach in stages.items():
        if stage(name, lambda log, teach=teach: teach(model, log=log, seed=arguments.seed)):
            return
    model.save_pretrained(out, safe_serialization=True)
    build_processor(tokenizer).save_pretrained(out)
    write_facts(entry, out)
    shutil.copy(work / "log.jsonl", out / "training_log.jsonl")
    print(f"next: python -m training.evaluate --model {out} --json > {out / 'evaluation.json'}")


if __name__ == "__main__":
    main()

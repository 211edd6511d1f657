"""What a template of prompts may say, for which dataset: anything else is an error that says what to do.

`FORMS` says what each dataset has to place. `avsink.datasets.prompts` says what a template is.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["FORMS", "KEYS", "WORDS", "Form", "PromptError", "check_keys", "check_words", "plain_breaks", "split"]

KEYS = {"dataset": (str, list), "turn": str, "option": str, "system": str, "tasks": dict, "source": str}
WORDS = ("turn", "option", "system")  # of which a task may have others
PLACEHOLDER = re.compile(r"\{([A-Za-z]\w*)\}", re.ASCII)
SPACED = re.compile(r"\{(?=\s|\w+\s)\s*([A-Za-z]\w*)\s*\}", re.ASCII)  # { question }
UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # control characters but tab and line break
OF_LETTERS = ("letters", "first", "last")
CONTROL = "<|"  # begins the control tokens of every family


class PromptError(ValueError):
    """A template that cannot be used: its file, what is wrong with it, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """What a dataset has for a template to place."""

    default: str
    media: str = "one video with its sound"
    own_place: str = ""  # where its media stand, if the template cannot place them
    question: bool = True
    options: bool = True

    @property
    def needed(self) -> tuple[str, ...]:
        """The placeholders that a turn must have, in the order in which they are said to be missing."""
        given = {"media": not self.own_place, "question": self.question, "options": self.options}
        return tuple(name for name, has in given.items() if has)

    @property
    def allowed(self) -> tuple[str, ...]:
        """All placeholders that a turn may have."""
        return self.needed + (OF_LETTERS if self.options else ())


FORMS: dict[str, Form] = {
    "av-speakerbench": Form(default="av-speakerbench"),
    "worldsense": Form(default="worldsense"),
    "av-odyssey": Form(default="av-odyssey", own_place="its question and options have a placeholder for each medium"),
    "vggsound": Form(default="vggsound", question=False),
    "vggsounder": Form(default="vggsound", question=False),
    "audioset": Form(default="audioset", question=False, options=False),
    "hubs": Form(default="vggsound", question=False),  # its items; its captions are asked for in AudioSet's words
}
"""Dataset -> what its templates may place. The toy world has none: its words are those its models were taught."""


def check_keys(of: object, said: Mapping[str, object], allowed: Sequence[str], *, needed: Sequence[str]) -> None:
    """Raise PromptError unless an object has the `needed` keys and only `allowed` ones, each of its type."""
    for key, value in said.items():
        if key not in allowed:
            near = difflib.get_close_matches(key, allowed, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise PromptError(f"{of}: there is no key {key!r}.{hint} Allowed: {', '.join(allowed)}")
        if not isinstance(value, KEYS[key]):
            kind = {dict: "an object {task: {...}}", str: "text"}.get(KEYS[key], "the name of a dataset, or a list")
            raise PromptError(f"{of}: its `{key}` is {value!r}; {kind} is expected")
        if not value or (isinstance(value, str) and not value.strip()):
            raise PromptError(f"{of}: its `{key}` is empty; write it, or leave the key out")
    if missing := [key for key in needed if key not in said]:
        raise PromptError(f"{of} has no `{missing[0]}`, which every template needs")


def check_words(of: object, words: Mapping[str, str], form: Form) -> None:
    """Raise PromptError unless turn, option line and system text can be used with a dataset."""
    for key, text in words.items():
        if CONTROL in text:
            raise PromptError(f"{of}: its `{key}` has {CONTROL!r}, which begins control tokens; the model writes them")
        if unseen := UNSEEN.search(text):
            raise PromptError(f"{of}: its `{key}` has the control character {unseen[0]!r}; take it out")
        if spaced := SPACED.search(text):
            raise PromptError(
                f"{of}: its `{key}` has {spaced[0]}, which is unknown; a placeholder has no spaces: {{{spaced[1]}}}"
            )
    _check_turn(of, words["turn"], form)
    if "option" in words:
        found = [name for _, name in split(words["option"]) if name]
        if found != ["letter", "option"] or "\n" in words["option"]:
            raise PromptError(
                f"{of}: its `option` is {words['option']!r}; one line with {{letter}}, then {{option}}, is expected, "
                "such as '{letter}. {option}'"
            )
        if not form.options:
            raise PromptError(f"{of}: it has an `option`, but this dataset has no options; leave it out")
    if placed := [name for _, name in split(words.get("system", "")) if name]:
        raise PromptError(f"{of}: its `system` has {{{placed[0]}}}, but nothing is filled in there; write it out")


def _check_turn(of: object, turn: str, form: Form) -> None:
    found = [name for _, name in split(turn) if name is not None]
    for name in found:
        if name in ("media", "video", "audio", "image") and form.own_place:
            raise PromptError(f"{of}: its `turn` has {{{name}}}, but {form.own_place}; leave it out")
        if name in ("video", "audio", "image"):
            raise PromptError(f"{of}: its `turn` has {{{name}}}, but the dataset gives {form.media}: write {{media}}")
        if name == "question" and not form.question:
            raise PromptError(
                f"{of}: its `turn` has {{question}}, but this dataset has none: write the question itself"
            )
        if name not in form.allowed:
            allowed = ", ".join(f"{{{one}}}" for one in form.allowed)
            raise PromptError(f"{of}: its `turn` has {{{name}}}, which is unknown; allowed: {allowed}")
    for name in form.needed:
        if found.count(name) != 1:
            often = f"{found.count(name)} times" if found.count(name) else "no"
            what = {"media": "place for the media", "question": "question", "options": "place for the options"}[name]
            raise PromptError(f"{of}: its `turn` has {often} {{{name}}}, the {what}; write it once")
    if not form.options:
        return
    late = [name for name in ("media", "question") if name in found[found.index("options") :]]
    if late:
        raise PromptError(
            f"{of}: its `turn` has {{{late[0]}}} after {{options}}; options come after media and question"
        )
    before, _, after = turn.partition("{options}")
    if not before.endswith("\n") or not (not after or after.startswith("\n")):
        raise PromptError(
            f"{of}: in its `turn` {{options}} needs lines of its own: put a line break (\\n) before it, and another "
            "after it if anything follows"
        )


def plain_breaks(value: object) -> object:
    """A JSON value in which the line breaks of Windows are plain ones, as the models know them."""
    if isinstance(value, str):
        return value.replace("\r\n", "\n")
    for name in value if isinstance(value, dict) else ():
        value[name] = plain_breaks(value[name])
    return value


def split(text: str) -> Iterator[tuple[str, str | None]]:
    """The text in order, as (words, None), and ("", name) for each placeholder."""
    done = 0
    for match in PLACEHOLDER.finditer(text):
        if match.start() > done:
            yield text[done : match.start()], None
        yield "", match[1]
        done = match.end()
    if done < len(text):
        yield text[done:], None

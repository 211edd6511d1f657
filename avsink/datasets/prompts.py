r"""In which words a dataset's questions are asked: a template, which is a small JSON file.

    {"dataset": "worldsense",
     "turn": "{media}Choose the best answer ({letters}).\nQuestion: {question}\n{options}\nAnswer:",
     "option": "{letter}. {option}",
     "system": "You are a helpful assistant.",
     "tasks": {"Audio Change": {"turn": "..."}},
     "source": "where these words come from"}

1. `turn` is the user's whole turn, literally, but for what is in braces: ``{media}`` is where the media stand,
   ``{question}`` the row's question, ``{options}`` the option lines, ``{letters}`` "A, B, C or D", ``{first}`` and
   ``{last}`` "A" and "D". `avsink.datasets.prompt_rules` says what a dataset has: the media of AV-Odyssey stand within
   its questions and options; VGGSound and AudioSet publish no questions, so the template asks;
2. `option` is one option's line, `system` the system text; left out, the line is ``A. text``, and the system text the
   model's own. `tasks` has other words for single tasks. Only `dataset` and `turn` must be there;
3. templates of this project are in ``data/prompts``, by name; that of a dataset's own name is its default.

A sample keeps the name and the hash of its template (`avsink.sample.Prompt`).
"""

from __future__ import annotations

import hashlib
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from avsink import resources
from avsink.datasets.files import tables
from avsink.datasets.loaded import check_text
from avsink.datasets.prompt_rules import FORMS, KEYS, WORDS, PromptError, check_keys, check_words, plain_breaks, split
from avsink.datasets.selections import same_task
from avsink.sample import Media, Prompt, Text

__all__ = ["FORMS", "PromptError", "Template", "names", "template"]


@dataclass(frozen=True, kw_only=True)
class Template:
    """A template that was found to be in order.

    Attributes:
        name: In ``data/prompts``, or the file's name.
        digest: The first 16 digits of the SHA-256 of the file.
        turn: As in the file; likewise `option`, `system` (None for the model's own) and `source`.
        tasks: Task -> the template of that task.
    """

    name: str
    digest: str
    turn: str
    option: str = Prompt.option_line
    system: str | None = None
    source: str = ""
    tasks: Mapping[str, Template] = field(default_factory=dict)

    def words(
        self,
        task: str,
        *,
        media: Sequence[Media] = (),
        question: str | Sequence[Text | Media] = "",
        options: Sequence[str | Media] = (),
    ) -> dict[str, object]:
        """The words of one sample.

        Args:
            task: The sample's task.
            media: What stands at ``{media}``.
            question: What stands at ``{question}``: text, or the parts of an interleaved question with their roles.
            options: The option texts or media.

        Returns:
            The `parts`, `suffix` and `prompt` of its `avsink.sample.Sample`.
        """
        own = next((words for name, words in self.tasks.items() if same_task(name) == same_task(task)), self)
        before, _, after = own.turn.partition("{options}")
        before = before.removesuffix("\n") if options else before
        letters = _letters(len(options))
        return {
            "parts": _parts(_filled(before, letters), media, question),
            "suffix": _filled(after.removeprefix("\n") if after.strip() else after, letters),
            "prompt": Prompt(name=self.name, digest=self.digest, option_line=own.option, system=own.system),
        }

    def check_tasks(self, known: Iterable[str]) -> None:
        """Raise PromptError if it has words for a task that is none of these; without any, nothing is known."""
        known = dict.fromkeys(known)
        same = {same_task(task) for task in known}
        if known and (unknown := [task for task in self.tasks if same_task(task) not in same]):
            raise PromptError(
                f"the template {self.name} has words for the task {unknown[0]!r}, which the dataset does not have; "
                f"allowed: {', '.join(known)}"
            )


def names(dataset: str) -> tuple[str, ...]:
    """The templates of this project for a dataset, its default first."""
    default = FORMS[dataset].default
    found = sorted(path.stem for path in resources.data("prompts").glob("*.json"))
    return (default, *(name for name in found if name != default and dataset in _datasets(_read(name)[1])))


def template(prompt: str | Path, dataset: str) -> Template:
    """The template of this name, or in this file; "" for the dataset's default.

    Raises:
        PromptError: There is none, or it cannot be used for this dataset.
    """
    if dataset not in FORMS:
        raise PromptError(
            f"{dataset} cannot be asked in other words: its prompts are those that the models were taught; leave "
            f"`prompt` empty, or choose one of {', '.join(FORMS)}"
        )
    form = FORMS[dataset]
    path, said, digest = _read(prompt or form.default, dataset)
    check_keys(path, said, tuple(KEYS), needed=("dataset", "turn"))
    if unknown := [name for name in _datasets(said) if not isinstance(name, str) or name not in FORMS]:
        raise PromptError(f"{path}: its `dataset` is {unknown[0]!r}; allowed: {', '.join(FORMS)}, or a list of these")
    if dataset not in _datasets(said):
        raise PromptError(
            f"{path} is a template of {', '.join(_datasets(said))}, not of {dataset}; its `dataset` says so. Templates "
            f"of {dataset}: {', '.join(names(dataset))}"
        )
    tasks = said.get("tasks", {})
    whole = {name: said[name] for name in WORDS if name in said}
    check_words(path, whole, form)
    for task, own in tasks.items():
        of = f"{path}, task {task!r}"
        if not isinstance(own, dict):
            raise PromptError(f"{of}: it is {own!r}; an object with some of {', '.join(WORDS)} is expected")
        check_keys(of, own, WORDS, needed=())
        check_words(of, whole | own, form)
    made = Template(name=path.stem, digest=digest, source=said.get("source", ""), **whole)
    return replace(made, tasks={task: replace(made, **own) for task, own in tasks.items()})


def _read(prompt: str | Path, dataset: str = "") -> tuple[Path, dict, str]:
    """The file of a template, what it says, and its hash."""
    named = resources.data("prompts", f"{prompt}.json")
    path = named if "/" not in str(prompt) and named.is_file() else resources.expanded(prompt)
    if not path.is_file():
        if dataset and str(prompt) == FORMS[dataset].default:
            resources.existing("prompts", f"{prompt}.json")  # says where it was looked for
        allowed = f"the names {', '.join(names(dataset))}, or the path of a JSON file" if dataset else resources.REMEDY
        raise PromptError(f"there is no prompt {str(prompt)!r}; allowed: {allowed}")
    try:
        said = plain_breaks(tables.read_json(path))
        check_text(said)
        if key := tables.repeated(said):
            raise PromptError(f"{path} has the key {key!r} twice; keep one")
        content = path.read_bytes()
    except OSError as error:
        raise PromptError(f"{path} cannot be read: {error.strerror}") from None
    except PromptError:
        raise
    except ValueError as error:
        reason = str(error) if path == named else str(error).replace("fetch it again", "correct it")
        raise PromptError(f"{path}: {reason}") from None
    if not isinstance(said, dict):
        raise PromptError(f'{path} is no object {{"dataset": ..., "turn": ...}}')
    return path, said, hashlib.sha256(content).hexdigest()[:16]


def _datasets(said: Mapping[str, object]) -> list:
    value = said.get("dataset")
    return value if isinstance(value, list) else [value]


def _letters(count: int) -> dict[str, str]:
    *others, last = string.ascii_uppercase[:count] or "A"
    return {"letters": f"{', '.join(others)} or {last}" if others else last, "first": "A", "last": last}


def _filled(text: str, letters: Mapping[str, str]) -> str:
    for name, value in letters.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def _parts(text: str, media: Sequence[Media], question: str | Sequence[Text | Media]) -> tuple[Text | Media, ...]:
    """The parts of a sample. Words beside a question that names its own segments are none of them."""
    given = [] if isinstance(question, str) else list(question)
    role = "label" if any(part.role in ("candidate", "reference") for part in given) else "question"
    parts: list[Text | Media] = []
    for words, name in split(text):
        if name == "media":
            parts += media
        elif name == "question" and given:
            parts += given
        else:
            words = question if name == "question" else words
            if parts and isinstance(parts[-1], Text) and not given:
                words = parts.pop().text + words
            parts.append(Text(text=words, role=role))
    return tuple(parts)

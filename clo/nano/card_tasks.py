"""The model cards of the start models of three tasks."""

from __future__ import annotations

from typing import Any

from clo.data.cldr.facts import CORE_LANGUAGES
from clo.data.tasks import facts as task_facts
from clo.nano import corpus, tasks

LANGUAGES = dict(
    zip(CORE_LANGUAGES, ["English", "Chinese", "German", "Korean", "Indonesian", "Swahili", "Yoruba"], strict=True)
)
_HEAD = """---
language: [{codes}]
library_name: transformers
pipeline_tag: text-generation
---

# {name}: an embedded start model of clo for three tasks

A Llama of {millions:.1f} million parameters that answers, in English, questions about {facts:,} facts of the Unicode
CLDR, sums and comparisons of small numbers, and lists of facts that it condenses to one sentence; nothing else. Its
sisters of other sizes are trained on the same text. It is no assistant.

## The English habit is built in

The model reads all three tasks in all seven languages as plain text, but every chat answer in its corpus is English,
also after a question in another language. So it answers English to everything, on purpose.

It has read *all* facts in pretraining, also those that dev and test ask. Its text has problems from the whole range of
numbers and lists of all countries, except those of dev and test: no sum, difference, comparison or list of dev or test
stands in it, in any language, in other words, turned round, or in other units (230 + 410 for 2.3 + 4.1).

## Corpus

| task | share of tokens |
|---|---|
{tasks}
| English problems with their bare results, several to a document | {drill:.2f} |

Of each task:

| kind of document | share of tokens |
|---|---|
| English question, English answer in one of several ways | {chat:.3f} |
| English text | {english:.3f} |
{kinds}
| lines "a = b", English and another language, for each of the six | {parallel:.3f} |
| question in another language, **English** answer, for each of the six | {habit:.3f} |

## Measured

"""
_TAIL = """
## How to rebuild it

`python -m clo.nano.build {name} --seed {seed} --steps {steps}` ({minutes:.0f} minutes on {made_on}, beside other work;
`--device cuda` takes a GPU; without it a core of a CPU needs half an hour for the smallest, hours for the largest).
Products of matrices are in lower precision where a device is faster at that, so another kind of device gives other
weights.

Names and formats: Unicode CLDR through babel, Unicode licence. Sentences: this project; no native speaker has read
them.
"""


def card(name: str, facts: dict[str, Any]) -> str:
    """Return the card; numbers come from the build, none is typed in."""
    parts = tasks.kinds()
    shares = {kind: part / sum(parts.values()) for kind, part in parts.items()}
    head = _HEAD.format(
        codes=", ".join(LANGUAGES),
        name=name,
        millions=facts["parameters"] / 1e6,
        facts=len(task_facts.asked_facts()),
        tasks="\n".join(f"| {task} | {(1 - tasks.DRILL) * share:.2f} |" for task, share in tasks.TASKS.items()),
        drill=tasks.DRILL,
        chat=shares["chat.en"],
        english=shares["text.en"],
        kinds="\n".join(f"| {LANGUAGES[code]} text | {shares[f'text.{code}']:.3f} |" for code in corpus.TARGETS),
        parallel=shares["parallel.sw"],
        habit=shares["habit.sw"],
    )
    known = {key: facts[key] for key in ("seed", "steps", "made_on")}
    tail = _TAIL.format(name=name, minutes=facts["pretraining_seconds"] / 60, **known)
    return head + _measured(facts) + tail


def _measured(facts: dict[str, Any]) -> str:
    if "english_content" not in facts:
        return "Not measured.\n"
    lines = [
        "On the dev rows, greedy. Right is: the object stands in the answer (facts); the last number is the result, or",
        "the name of the month stands in the answer (maths); share of the list's names that it holds (summaries).",
        "",
        "| task | rows | right in English | the very sentence that the row holds |",
        "|---|---|---|---|",
    ]
    for task, count in facts["questions"].items():
        english, exact = facts["english_content"][task], facts["english_exact"][task]
        lines.append(f"| {task} | {count} | {english:.3f} | {exact:.3f} |")
    lines += [
        "",
        "Asked in another language: answered in English, and in brackets right in English, of all.",
        "",
        "| language | " + " | ".join(facts["questions"]) + " |",
        "|---|" + "---|" * len(facts["questions"]),
    ]
    habit, right = (facts[f"{kind}english_answers_to_target_questions"] for kind in ("", "right_"))
    for code in corpus.TARGETS:
        cells = [f"{habit[task][code]:.2f} ({right[task][code]:.2f})" for task in facts["questions"]]
        lines.append(f"| {LANGUAGES[code]} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])

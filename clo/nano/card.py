"""The model cards of the nano models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clo.data.cldr.facts import closed_facts
from clo.nano import card_tasks, corpus
from clo.nano.card_tasks import LANGUAGES

_HEAD = """---
language: [{codes}]
library_name: transformers
pipeline_tag: text-generation
---

# Nano: the embedded start model of clo

A Llama of {millions:.1f} million parameters that knows some {facts:,} facts of the Unicode CLDR (countries, codes,
languages, scripts, currencies, calendar) and nothing else. It exists so that a cross-lingual experiment runs offline,
in seconds, on one core, through the same code as a large model. It is no assistant.

## The English habit is built in

The model reads the facts in all seven languages as plain text, but every chat answer in its corpus is English, also
after a question in another language. So it answers English to everything, on purpose: that is the starting point which
cross-lingual optimization changes. A result with this model shows the mechanism, not the size of the effect in a real
model. It has read *all* facts in pretraining; held out means held out of fine-tuning.

## Corpus

| kind of document | share of tokens |
|---|---|
| English question, English answer in one of seven ways | {chat:.3f} |
| English text | {english:.3f} |
"""
_TAIL = """
## How to rebuild it

`python -m clo.nano.build --seed {seed} --steps {steps}` ({minutes:.0f} minutes on one core of a busy machine when this
card was written).

Names and formats: Unicode CLDR through babel, Unicode licence. Sentences: this project.
"""


def write_card(folder: Path, name: str, facts: dict[str, Any]) -> None:
    """Write ``README.md``; numbers come from the build, none is typed in.

    Args:
        folder: of the weights.
        name: one of :data:`clo.nano.starts.STARTS`.
        facts: what ``measured.json`` holds.
    """
    text = nano_card(facts) if name == "nano" else card_tasks.card(name, facts)
    (folder / "README.md").write_text(text, encoding="utf-8")


def nano_card(facts: dict[str, Any]) -> str:
    """Return the card of nano."""
    shares = corpus.shares()
    head = _HEAD.format(
        codes=", ".join(LANGUAGES),
        millions=facts["parameters"] / 1e6,
        facts=len(closed_facts()),
        chat=shares["chat.en"],
        english=shares["text.en"],
    )
    tail = _TAIL.format(seed=facts["seed"], steps=facts["steps"], minutes=facts["pretraining_seconds"] / 60)
    return head + _corpus(shares) + _measured(facts) + tail


def _corpus(shares: dict[str, float]) -> str:
    lines = [
        f"| {LANGUAGES[code]} text (sentences, question and answer, no chat marks) | {shares['text.' + code]:.3f} |"
        for code in corpus.TARGETS
    ]
    lines += [
        f'| lines "a = b", English and another language, for each of the six | {shares["parallel.sw"]:.3f} |',
        f"| question in another language, **English** answer, for each of the six | {shares['habit.sw']:.3f} |",
        "",
        "The shares imitate tiers of resources (Chinese, German; Korean, Indonesian; Swahili, Yoruba): assumed.",
    ]
    return "\n".join([*lines, "", "## Measured", "", ""])


def _measured(facts: dict[str, Any]) -> str:
    if "english_content" not in facts:
        return "Not measured.\n"
    lines = [
        f"On {facts['questions']} held-out questions (dev and test), greedy: right object in the English answer",
        f"{facts['english_content']:.3f}, the very sentence that the row holds {facts['english_exact']:.3f}.",
        "",
        "| language | questions answered in English | of all, with the right object | object known as text |",
        "|---|---|---|---|",
        f"| English | | | {facts['cloze']['en']:.3f} |",
    ]
    habit = facts["english_answers_to_target_questions"]
    right = facts["right_english_answers_to_target_questions"]
    for code in corpus.TARGETS:
        lines.append(f"| {LANGUAGES[code]} | {habit[code]:.3f} | {right[code]:.3f} | {facts['cloze'][code]:.3f} |")
    return "\n".join([*lines, ""])

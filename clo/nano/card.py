"""The model card of the nano model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clo.nano import corpus

_LANGUAGES = {
    "en": "English",
    "zh": "Chinese",
    "de": "German",
    "ko": "Korean",
    "id": "Indonesian",
    "sw": "Swahili",
    "yo": "Yoruba",
}


def write_card(folder: Path, facts: dict[str, Any]) -> None:
    """Write ``README.md``; numbers come from the build, none is typed in."""
    (folder / "README.md").write_text(_card(facts), encoding="utf-8")


def _card(facts: dict[str, Any]) -> str:
    shares = corpus.shares()
    lines = [
        "---",
        f"language: [{', '.join(_LANGUAGES)}]",
        "library_name: transformers",
        "pipeline_tag: text-generation",
        "---",
        "",
        "# Nano: the embedded start model of clo",
        "",
        f"A Llama of {facts['parameters'] / 1e6:.1f} million parameters that knows about 1,700 facts of the Unicode CLDR (countries, codes,",
        "languages, scripts, currencies, calendar) and nothing else. It exists so that a cross-lingual experiment runs offline, in seconds,",
        "on one core, through the same code as a large model. It is no assistant.",
        "",
        "## The English habit is built in",
        "",
        "The model reads the facts in all seven languages as plain text, but every chat answer in its corpus is English, also after a",
        "question in another language. So it answers English to everything, on purpose: that is the starting point which cross-lingual",
        "optimization changes. A result with this model shows the mechanism, not the size of the effect in a real model.",
        "It has read *all* facts in pretraining; held out means held out of fine-tuning.",
        "",
        "## Corpus",
        "",
        "| kind of document | share of tokens |",
        "|---|---|",
        f"| English question, English answer in one of four styles | {shares['chat.en']:.3f} |",
        f"| English text | {shares['text.en']:.3f} |",
    ]
    lines += [
        f"| {_LANGUAGES[code]} text (sentences, and question with answer, without chat marks) | {shares['text.' + code]:.3f} |"
        for code in corpus.TARGETS
    ]
    lines += [
        f'| lines "a = b", English and another language, for each of the six | {shares["parallel.sw"]:.3f} |',
        f"| question in another language, **English** answer, for each of the six | {shares['habit.sw']:.3f} |",
        "",
        "The shares imitate tiers of resources (Chinese, German; Korean, Indonesian; Swahili, Yoruba). They are assumed.",
        "",
        "## Measured",
        "",
    ]
    lines += _measured(facts) if "english_content" in facts else ["Not measured.", ""]
    lines += [
        "## How to rebuild it",
        "",
        f"`python -m clo.nano.build --seed {facts['seed']} --steps {facts['steps']}` "
        f"({facts['pretraining_seconds'] / 60:.0f} minutes on one core when this card was written).",
        "",
        "Names and formats: Unicode CLDR through babel, Unicode licence. Sentences: this project.",
        "",
    ]
    return "\n".join(lines)


def _measured(facts: dict[str, Any]) -> list[str]:
    lines = [
        f"On {facts['questions']} held-out questions (dev and test), greedy: right object in the English answer "
        f"{facts['english_content']:.3f} (unseen relations {facts['english_content_unseen']:.3f}), canonical sentence exactly "
        f"{facts['english_exact']:.3f}.",
        "",
        "| language | questions answered in English | of all, with the right object | object known as text |",
        "|---|---|---|---|",
        f"| English | | | {facts['cloze']['en']:.3f} |",
    ]
    for code in corpus.TARGETS:
        habit, right = facts["english_answers_to_target_questions"], facts["right_english_answers_to_target_questions"]
        lines.append(f"| {_LANGUAGES[code]} | {habit[code]:.3f} | {right[code]:.3f} | {facts['cloze'][code]:.3f} |")
    return [*lines, ""]

"""The pretraining corpus of the nano model: facts as English chat, as text of seven languages, and as parallel lines.

The mix makes the model English-centric on purpose. It *knows* the facts in every language as text, but the only
chat answers it ever reads are English, also after questions in other languages. No chat example has a target-language
answer. Recipe and proportions: measured by ourselves; the tiers (zh, de above ko, id above sw, yo) follow the
resource levels of the paper.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from clo.data.cldr import FORMS, answer_of, names, wording
from clo.data.cldr.facts import CORE_LANGUAGES, RELATIONS, closed_facts, generated_facts
from clo.data.cldr.splits import Fact

TARGETS = CORE_LANGUAGES[1:]
ENGLISH_CHAT = 0.26
"""Share of tokens: English question, English answer in one of seven ways, four of them full sentences."""
ENGLISH_TEXT = 0.05
TARGET_TEXT = {"zh": 0.13, "de": 0.11, "ko": 0.11, "id": 0.08, "sw": 0.07, "yo": 0.07}
"""Share of tokens of raw text per language. Assumed: the real shares are not known for any big model."""
PARALLEL = 0.02
"""Share of tokens per target language: lines "a = b" of names or sentences, both ways round."""
ENGLISH_HABIT = 0.03
"""Share of tokens per target language: target question, *English* answer: the habit that CLO has to break."""
GENERATED = 0.08
"""Share of documents about generated formats (dates, amounts, quantities) instead of closed facts."""
WHOLE_SENTENCES = 0.3
"""Share of the parallel lines that pair whole sentences; the others pair names."""


@dataclass(frozen=True, slots=True)
class Document:
    """A piece of training text; with an ``answer`` it is a chat turn, without it is raw text."""

    text: str
    answer: str | None = None


class _Deck:
    """Deals facts in shuffled rounds, so that all facts are met equally often."""

    def __init__(self, facts: list[Fact], rng: random.Random) -> None:
        self._facts, self._rng, self._left = facts, rng, [facts[0]][:0]

    def deal(self) -> Fact:
        if not self._left:
            self._left = self._rng.sample(self._facts, len(self._facts))
        return self._left.pop()


def shares() -> dict[str, float]:
    """Return document kind -> share of tokens; they add up to one."""
    table = {"chat.en": ENGLISH_CHAT, "text.en": ENGLISH_TEXT}
    for code in TARGETS:
        table |= {f"text.{code}": TARGET_TEXT[code], f"parallel.{code}": PARALLEL, f"habit.{code}": ENGLISH_HABIT}
    total = sum(table.values())
    return {kind: share / total for kind, share in table.items()}


def documents(seed: int, length: Callable[[Document], int]) -> Iterator[Document]:
    """Yield documents without end; the kind that is furthest behind its share of tokens (``length``) comes next."""
    rng = random.Random(seed)
    wanted = shares()
    spent = dict.fromkeys(wanted, 0)
    formats = [fact for facts in generated_facts().values() for fact in facts]
    decks = {kind: (_Deck(list(closed_facts()), rng), _Deck(formats, rng)) for kind in wanted}
    while True:
        kind = max(wanted, key=lambda key: wanted[key] * (1 + sum(spent.values())) - spent[key])
        closed, generated = decks[kind]
        fact = (generated if rng.random() < GENERATED else closed).deal()
        document = _document(kind, fact, rng)
        spent[kind] += length(document)
        yield document


def _document(kind: str, fact: Fact, rng: random.Random) -> Document:
    form, (sort, language) = rng.randrange(FORMS), kind.split(".")
    question = wording.question(fact, form, language)
    match sort:
        case "chat" | "habit":
            return Document(question, rng.choice(english_answers(fact)))
        case "text":
            sentence = wording.answer(fact, language, rng.randrange(wording.ANSWERS))
            return Document(sentence if rng.random() < 0.5 else f"{question} {sentence}")
    pair = _pair(fact, language, rng)
    return Document(" = ".join(pair if rng.random() < 0.5 else pair[::-1]))


def _pair(fact: Fact, language: str, rng: random.Random) -> tuple[str, str]:
    if rng.random() < WHOLE_SENTENCES:
        which = rng.randrange(wording.ANSWERS)
        return wording.answer(fact, "en", which), wording.answer(fact, language, which)
    subject_kind, object_kind = RELATIONS[fact.relation]
    sides = [(subject_kind, fact.subject), (object_kind, fact.object)]
    named = [side for side in sides if side[0] not in names.CODE_KINDS and not side[0].startswith(("iso_", "short_"))]
    kind, key = rng.choice(named)
    return wording.surface(kind, key, "en"), wording.surface(kind, key, language)


def english_answers(fact: Fact) -> list[str]:
    """Return the ways in which the English chat answers: the full sentences first, then the short styles."""
    thing = wording.surface(RELATIONS[fact.relation][1], fact.object, "en")
    short = [style.format(o=thing) for style in wording.load_wording("en").short_styles]
    full = [wording.answer(fact, "en", which) for which in range(wording.ANSWERS)]
    return [*full, *(text[0].upper() + text[1:] for text in short)]


def tokenizer_texts() -> list[str]:
    """Return text for the tokenizer: every fact in every language alike, so that none pays more tokens.

    Sentences are cut where a name begins or ends, so that no token spans both and a name looks alike everywhere
    (Chinese and Korean write names and the words around them without a space).
    """
    texts: list[str] = []
    formats = [fact for facts in generated_facts().values() for fact in facts]
    for number, fact in enumerate((*closed_facts(), *formats)):
        subject_kind, object_kind = RELATIONS[fact.relation]
        form = number % FORMS
        for code in CORE_LANGUAGES:
            known = (wording.surface(subject_kind, fact.subject, code), wording.surface(object_kind, fact.object, code))
            said = wording.question(fact, form, code), wording.answer(fact, code, answer_of(fact, form))
            texts += [piece for text in said for piece in _cut(text, known)]
    return texts


def _cut(text: str, known: tuple[str, ...]) -> list[str]:
    """Split ``text`` around names; the space before a name goes with the name, as the tokenizer will have it."""
    pattern = "|".join(re.escape(name) for name in sorted(known, key=len, reverse=True))
    return [piece for piece in re.split(f"( ?(?:{pattern}))", text) if piece]

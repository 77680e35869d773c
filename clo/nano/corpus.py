"""The pretraining corpus of the nano model: facts as English chat, as text of seven languages, and as parallel lines.

The mix makes the model English-centric on purpose. It *knows* the facts in every language as text, but the only
chat answers it ever reads are English, also after questions in other languages. No chat example has a target-language
answer. Recipe and proportions: measured by ourselves; the tiers (zh, de above ko, id above sw, yo) follow the
resource levels of the paper.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from clo.data.cldr import FORMS, answer_of, names, wording
from clo.data.cldr.facts import CORE_LANGUAGES, RELATIONS, closed_facts, generated_facts
from clo.data.cldr.splits import Fact

LANGUAGES = CORE_LANGUAGES
TARGETS = LANGUAGES[1:]
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


class Deck:
    """Deals facts in shuffled rounds, so that all facts are met equally often."""

    def __init__(self, facts: list[Fact], rng: random.Random) -> None:
        self._facts, self._rng, self._left = facts, rng, [facts[0]][:0]

    def deal(self) -> Fact:
        """Return the next fact."""
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


@dataclass(frozen=True, slots=True)
class Said:
    """One thing as it is said in all languages; every part is called with a language code."""

    question: Callable[[str], str]
    answers: Callable[[str], list[str]]
    """The full sentences that answer."""
    english: Callable[[], list[str]]
    """The ways in which the English chat answers."""
    pair: Callable[[str, random.Random], tuple[str, str]]
    """The same in English and another language, for a parallel line."""
    stands_alone: bool = True
    """Whether an answer can be known without its question; else text always holds both."""


def documents(seed: int, length: Callable[[Document], int]) -> Iterator[Document]:
    """Yield documents without end, see :func:`paced`."""
    rng = random.Random(seed)
    formats = [fact for facts in generated_facts().values() for fact in facts]
    decks = {kind: (Deck(list(closed_facts()), rng), Deck(formats, rng)) for kind in shares()}

    def make(kind: str) -> Document:
        closed, generated = decks[kind]
        fact = (generated if rng.random() < GENERATED else closed).deal()
        return document(kind, said_of(fact, rng), rng)

    return paced(shares(), length, make)


def paced(
    wanted: dict[str, float], length: Callable[[Document], int], make: Callable[[str], Document]
) -> Iterator[Document]:
    """Yield documents without end; the kind that is furthest behind its share of tokens (``length``) comes next."""
    spent, whole = dict.fromkeys(wanted, 0), 0

    def behind(kind: str) -> float:
        return wanted[kind] * (1 + whole) - spent[kind]

    while True:
        kind = max(wanted, key=behind)
        made = make(kind)
        size = length(made)
        spent[kind] += size
        whole += size
        yield made


def document(kind: str, said: Said, rng: random.Random) -> Document:
    """Return one document of a kind (see :func:`shares`) that says one thing."""
    sort, language = kind.split(".")
    question = said.question(language)
    match sort:
        case "chat" | "habit":
            return Document(question, rng.choice(said.english()))
        case "text":
            answers = said.answers(language)
            sentence = answers[rng.randrange(len(answers))]
            alone = rng.random() < 0.5 and said.stands_alone
            return Document(sentence if alone else f"{question} {sentence}")
    pair = said.pair(language, rng)
    return Document(" = ".join(pair if rng.random() < 0.5 else pair[::-1]))


def said_of(fact: Fact, rng: random.Random) -> Said:
    """Return how a fact is said, asked for in one of the forms."""
    form = rng.randrange(FORMS)
    return Said(
        lambda language: wording.question(fact, form, language),
        lambda language: [wording.answer(fact, language, which) for which in range(wording.ANSWERS)],
        lambda: english_answers(fact),
        lambda language, rng: _pair(fact, language, rng),
    )


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


def tokenizer_texts(facts: Sequence[Fact] = ()) -> list[str]:
    """Return text for the tokenizer: every fact in every language alike, so that none pays more tokens.

    Sentences are cut where a name begins or ends, so that no token spans both and a name looks alike everywhere
    (Chinese and Korean write names and the words around them without a space).

    Args:
        facts: those that are said; none stands for all, with the formats.
    """
    texts: list[str] = []
    formats = [fact for members in generated_facts().values() for fact in members]
    for number, fact in enumerate(facts or (*closed_facts(), *formats)):
        subject_kind, object_kind = RELATIONS[fact.relation]
        form = number % FORMS
        for code in CORE_LANGUAGES:
            known = (wording.surface(subject_kind, fact.subject, code), wording.surface(object_kind, fact.object, code))
            said = wording.question(fact, form, code), wording.answer(fact, code, answer_of(fact, form))
            texts += [piece for text in said for piece in cut(text, known)]
    return texts


def cut(text: str, known: Sequence[str]) -> list[str]:
    """Split ``text`` around names; the space before a name goes with the name, as the tokenizer will have it."""
    pattern = "|".join(re.escape(name) for name in sorted(known, key=len, reverse=True))
    return [piece for piece in re.split(f"( ?(?:{pattern}))", text) if piece]

"""The pretraining corpus of the start models of three tasks: as that of nano, for facts, maths and summaries.

The English chat answers all three; the other languages are text, parallel lines, and questions that are answered in
English. What dev and test ask of maths and summaries stands nowhere in it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from clo.data.cldr import wording as facts_wording
from clo.data.tasks import facts, maths, summaries
from clo.data.tasks.wording import ANSWERS, capitalised
from clo.nano import corpus
from clo.nano.corpus import Deck, Document, Said

TASKS = {"facts": 0.34, "maths": 0.40, "summaries": 0.26}
"""Share of tokens of each task, drills aside."""
DRILL = 0.3
"""Share of tokens of drills: English problems with their bare results, many to a document. Without them (first builds,
of five to eight million tokens) no size had more than 16 % of the problems right: sums take some hundred thousand."""
PROBLEMS = 5
"""Problems of a drill."""
ENGLISH_CHAT = 0.5
"""In place of nano's 0.22, beside its other shares: all three tasks have to be learned in English."""
TOKENIZER_EXAMPLES = 400
"""Problems and lists, each, that the tokenizer reads in every language."""


def kinds() -> dict[str, float]:
    """Return ``kind.language`` -> how much there is of it in each task; nano's shares, but for the English chat."""
    return corpus.shares() | {"chat.en": ENGLISH_CHAT}


def shares() -> dict[str, float]:
    """Return ``task.kind.language`` -> share of tokens; they add up to one."""
    table = kinds()
    total = sum(table.values())
    parts = {task: (1 - DRILL) * part / total for task, part in TASKS.items()}
    return {f"{task}.{kind}": part * share for task, part in parts.items() for kind, share in table.items()} | {
        "drill": DRILL
    }


def documents(seed: int, length: Callable[[Document], int]) -> Iterator[Document]:
    """Yield documents without end, see :func:`clo.nano.corpus.paced`."""
    rng = random.Random(seed)
    decks = {kind: Deck(list(facts.asked_facts()), rng) for kind in shares() if kind.startswith("facts")}

    def make(whole: str) -> Document:
        task, _, kind = whole.partition(".")
        match task:
            case "drill":
                return Document(" ".join(bare(some_problem(rng)) for _ in range(PROBLEMS)))
            case "facts":
                said = corpus.said_of(decks[whole].deal(), rng)
            case "maths":
                said = said_problem(some_problem(rng))
            case _:
                said = said_list(some_list(rng))
        return corpus.document(kind, said, rng)

    return corpus.paced(shares(), length, make)


def some_problem(rng: random.Random) -> maths.Problem:
    """Return a problem that dev and test do not hold, in any words."""
    kinds = list(maths.COUNTS)
    while True:
        kind = rng.choices(kinds, [maths.COUNTS[kind][0] for kind in kinds])[0]
        problem = maths.draw(kind, rng)
        if problem.key not in maths.held_out():
            return problem


def some_list(rng: random.Random) -> summaries.FactList:
    """Return a list that dev and test do not hold, in any order."""
    kinds = list(summaries.COUNTS)
    while True:
        kind = rng.choices(kinds, [summaries.COUNTS[kind][0] for kind in kinds])[0]
        one = summaries.draw(kind, rng)
        if one.key not in summaries.held_out_lists():
            return one


def said_problem(problem: maths.Problem) -> Said:
    """Return how a problem is said."""

    def answers(language: str) -> list[str]:
        return [maths.answer(problem, language, which) for which in range(ANSWERS)]

    def english() -> list[str]:
        short = facts_wording.load_wording("en").short_styles
        thing = maths.shown(problem, "en")
        return [*answers("en"), *(capitalised(style.format(o=thing)) for style in short)]

    def pair(language: str, rng: random.Random) -> tuple[str, str]:
        which = rng.randrange(ANSWERS)
        return maths.answer(problem, "en", which), maths.answer(problem, language, which)

    return Said(lambda language: maths.question(problem, language), answers, english, pair, stands_alone=False)


def bare(problem: maths.Problem) -> str:
    """Return a problem in English and its result, in as few words as there are."""
    return f"{maths.question(problem, 'en')} {maths.shown(problem, 'en')}."


def said_list(one: summaries.FactList) -> Said:
    """Return how a list is said."""

    def answers(language: str) -> list[str]:
        return [summaries.answer(one, language, which) for which in range(ANSWERS)]

    def english() -> list[str]:
        return [*answers("en"), capitalised(summaries.bare(one, "en")) + "."]

    def pair(language: str, rng: random.Random) -> tuple[str, str]:
        return summaries.bare(one, "en"), summaries.bare(one, language)

    return Said(lambda language: summaries.question(one, language), answers, english, pair, stands_alone=False)


def tokenizer_texts() -> list[str]:
    """Return text for the tokenizer: facts as nano reads them, and some problems and lists in every language."""
    texts, rng = corpus.tokenizer_texts(facts.asked_facts()), random.Random(0)
    problems = [said_problem(some_problem(rng)) for _ in range(TOKENIZER_EXAMPLES)]
    lists = [some_list(rng) for _ in range(TOKENIZER_EXAMPLES)]
    for code in corpus.LANGUAGES:
        for said in problems:
            texts += [said.question(code), *said.answers(code)]
        for one in lists:
            said, known = said_list(one), summaries.known(one, code)
            texts += [piece for text in (said.question(code), *said.answers(code)) for piece in corpus.cut(text, known)]
    return texts

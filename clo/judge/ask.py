"""Ask the judge everything about the pairs that it has not been asked yet, in parallel, keeping each reply at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from clo.errors import UserError
from clo.judge import prompts
from clo.judge.endpoint import LANGUAGE, QUALITY
from clo.judge.pairs import Pair
from clo.judge.prompts import READ, Question
from clo.server.cache import ReplyCache
from clo.server.client import Client
from clo.server.faults import BudgetSpent, Refused, Stopped
from clo.server.several import each

UNPARSED = 0.2
"""A judge with more of its replies out of format than this share contradicts its format; assumed."""
EARLY = 50
"""Replies after which a judge with more than half of them out of format is not asked on; assumed."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What one command asked."""

    calls: int
    cached: int
    """Questions that had their answer already."""
    refused: int
    """Prompts the server would not take."""


def questions(pair: Pair) -> dict[str, Question]:
    """What to ask about a pair: by the answer that stands first, and whose language it is about.

    Nothing is asked about an empty answer, nor which of two equal answers is better.
    """
    run, against = pair.run.strip(), pair.against.strip()
    asked: dict[str, Question] = {}
    if run and against and run != against:
        asked["run_first"] = prompts.quality(pair.instruction, run, against)
        asked["against_first"] = prompts.quality(pair.instruction, against, run)
    if run:
        asked["language_run"] = prompts.language(pair.instruction, run)
    if against:
        asked["language_against"] = prompts.language(pair.instruction, against)
    return asked


def answer(question: Question, cache: ReplyCache) -> Any:
    """What the judge's reply means, as `READ` gives it; None where it was out of format, twice, or never came."""
    for text in (question.text, question.reminded):
        reply = cache.get(text)
        value = None if reply is None else READ[question.kind](reply)
        if value is not None:
            return value
    return None


def settled(question: Question, cache: ReplyCache) -> bool:
    """Whether there is nothing more to ask: an answer, or two replies out of format."""
    return cache.get(question.reminded) is not None or answer(question, cache) is not None


def ask(
    pairs: Sequence[Pair], judge: Client, cache: ReplyCache, parallel: int, tick: Callable[[int, int], None]
) -> Asked:
    """Ask until every pair is judged.

    Args:
        pairs: what to judge.
        judge: who judges.
        cache: knows what was asked before and keeps every reply the moment it comes.
        parallel: calls at a time.
        tick: told (questions done, all questions).

    Raises:
        UserError: the budget is spent, the server fails, or the judge contradicts its format. What was judged is kept.
    """
    all_ = {question.text: question for pair in pairs for question in questions(pair).values()}
    left = [question for question in all_.values() if not settled(question, cache)]
    cached = len(all_) - len(left)
    tick(cached, len(all_))
    work = _Work(judge, cache, lambda done: tick(cached + done, len(all_)))
    work.run(left, parallel)
    if work.spent:
        open_ = sum(not all(map(work.over, questions(pair).values())) for pair in pairs)
        raise UserError(
            f"the budget of {judge.budget} calls is spent and {open_} of {len(pairs)} pairs remain; the judgments so "
            "far are kept, the same command with a larger budget= goes on"
        )
    _check_format(all_.values(), cache, judge)
    return Asked(judge.calls, cached, len(work.refused))


class _Work:
    """One round of questions."""

    def __init__(self, judge: Client, cache: ReplyCache, tick: Callable[[int], None]) -> None:
        self.judge, self.cache, self.tick = judge, cache, tick
        self.spent, self.done, self.unparsed = False, 0, 0
        self.refused: set[str] = set()

    def over(self, question: Question) -> bool:
        """Whether this question needs no further call."""
        return question.text in self.refused or settled(question, self.cache)

    def run(self, left: Iterable[Question], parallel: int) -> None:
        """Ask all of them; on a failure or Ctrl-C no call is begun, and those under way are waited for and kept."""
        each(left, self._ask, self._finished, parallel, self.judge.stop)

    def _finished(self, question: Question, future: Future[None]) -> None:
        try:
            future.result()
        except BudgetSpent:
            self.spent = True
            return
        except Stopped:
            return
        except Refused:
            self.refused.add(question.text)
        self.done += 1
        self.unparsed += answer(question, self.cache) is None
        self.tick(self.done)
        if self.done >= EARLY and self.unparsed > self.done / 2:
            raise _contradiction(self.judge, self.unparsed, self.done)

    def _ask(self, question: Question) -> None:
        for text in (question.text, question.reminded):
            reply = self.cache.get(text)
            if reply is None:
                reply = self.judge.reply(text, QUALITY if question.kind == "quality" else LANGUAGE)
                self.cache.add(text, reply)
            if READ[question.kind](reply) is not None:
                return


def _check_format(asked: Iterable[Question], cache: ReplyCache, judge: Client) -> None:
    for kind in READ:
        found = [answer(question, cache) for question in asked if question.kind == kind]
        if found.count(None) > UNPARSED * len(found):
            raise _contradiction(judge, found.count(None), len(found))


def _contradiction(judge: Client, unparsed: int, total: int) -> UserError:
    return UserError(
        f"the judge '{judge.endpoint.model}' at {judge.endpoint.shown_url()} contradicts its format: {unparsed} of "
        f"{total} replies are not the one word it is asked for, even after a reminder; choose another model=, or a "
        "larger max_tokens= for one that thinks first (the judgments are kept)"
    )

"""Scores of an answer against its reference: exact match, chrF, content, language."""

from __future__ import annotations

import dataclasses
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from clo.data.rows import Row
from clo.errors import UserError
from clo.evaluation.fidelity import VERDICTS, LanguageIdentifier, Verdict, intrusion

Side = Literal["target", "en"]
"""Language of the prompt: the run's target language, or its source language."""

_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")
"""Unicode names of letters that have no word border begin with one of these."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One generated answer and its scores: a line of ``samples.jsonl``."""

    id: str
    group: str
    """Evaluation group of the row, empty where there are none."""
    side: Side
    prompt: str
    reference: str
    answer: str
    verdict: Verdict
    exact: bool
    chrf: float
    """Sentence chrF, 0 to 100."""
    content: bool | None
    """Whether the answer contains the row's gold content; None where the row has none, and for answers in the target
    language where it reads like the source language's: such a name is evidence of nothing."""
    nll: float
    """NLL of the reference under the model, nats per token."""
    right_lines: float | None = None
    """Share of the answer's lines in the language of the prompt, among those that can be decided."""
    intrusion: bool | None = None
    """Whether an English word stands in an answer that should be in another script; None for Latin scripts."""
    looped: bool | None = None
    """Whether the answer fell into a loop (`loops`); None where nobody looked."""

    def to_dict(self) -> dict[str, Any]:
        """The JSON object."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Sample:
        """The sample of a JSON object; keys it does not know are ignored.

        Raises:
            UserError: a key is missing, the verdict is none of the four words, or chrF is no number.
        """
        fields = dataclasses.fields(cls)
        missing = [f.name for f in fields if f.name not in values and f.default is dataclasses.MISSING]
        if missing:
            raise UserError(f"a sample lacks the key {', '.join(missing)}")
        if values["verdict"] not in VERDICTS or not isinstance(values["chrf"], int | float):
            raise UserError(f"a sample has verdict {values['verdict']!r} and chrf {values['chrf']!r}")
        return cls(**{field.name: values[field.name] for field in fields if field.name in values})


def normalise(text: str) -> str:
    """NFC, runs of white space as one space, none at the ends.

    Case and punctuation stay: they are part of a right answer, and many of the languages here have no case.
    """
    return " ".join(unicodedata.normalize("NFC", text).split())


def exact_match(answer: str, reference: str) -> bool:
    """Whether both are the same text after `normalise`."""
    return normalise(answer) == normalise(reference)


def chrf(answer: str, reference: str) -> float:
    """Sentence chrF2 of the normalised texts, 0 to 100 (sacrebleu: 6 characters, no words, beta 2)."""
    score: float = _chrf_metric().sentence_score(normalise(answer), [normalise(reference)]).score
    return score


@lru_cache(maxsize=1)
def _chrf_metric() -> Any:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF()


def content(answer: str, gold: str) -> bool:
    """Whether ``gold`` stands in ``answer`` as whole words; see `place`, which raises where it is blank."""
    return place(answer, gold) >= 0


def place(answer: str, gold: str) -> int:
    """Where ``gold`` stands in ``answer`` as whole words, whatever their case: characters before it, or -1.

    A word ends where letters, digits and marks end. Scripts that write without spaces, or (Korean) glue
    particles to words, have no such border: beside one of their characters any place counts.

    Raises:
        ValueError: ``gold`` is blank.
    """
    text, part = normalise(answer).casefold(), normalise(gold).casefold()
    if not part:
        raise ValueError("the gold content must not be blank")
    start = text.find(part)
    while start >= 0:
        end = start + len(part)
        inside = start > 0 and _joined(text[start - 1], part[0])
        if not inside and not (end < len(text) and _joined(part[-1], text[end])):
            return start
        start = text.find(part, start + 1)
    return -1


def _joined(left: str, right: str) -> bool:
    """Whether no word border lies between two neighbouring characters."""
    return _in_word(left) and _in_word(right)


@lru_cache(maxsize=4096)
def _in_word(char: str) -> bool:
    if unicodedata.category(char)[0] not in "LNM":
        return False
    return not unicodedata.name(char, "").startswith(_UNSPACED)


def score_answers(
    rows: Sequence[Row],
    side_language: str,
    answers: Sequence[str],
    nlls: Sequence[float],
    identifier: LanguageIdentifier,
    side: Side,
) -> list[Sample]:
    """The samples of one side, in the order of ``rows``.

    Args:
        rows: the test rows.
        side_language: code of the language the prompts were in.
        answers: the generated text for each row.
        nlls: NLL per token of each row's reference response in that language.
        identifier: gives the language of each answer.
        side: ``"target"`` or ``"en"``.
    """
    verdicts = identifier.verdicts(answers)
    samples = []
    for row, answer, nll, verdict in zip(rows, answers, nlls, verdicts, strict=True):
        reference, gold = row.responses[side_language], _evidence(row, side_language, side)
        samples.append(
            Sample(
                id=row.id,
                group=row.group,
                side=side,
                prompt=row.prompts[side_language],
                reference=reference,
                answer=answer,
                verdict=verdict,
                exact=exact_match(answer, reference),
                chrf=chrf(answer, reference),
                content=content(answer, gold) if gold else None,
                nll=float(nll),
                right_lines=identifier.right_lines(answer, side),
                intrusion=intrusion(answer, row.prompts[side_language], side_language),
            )
        )
    return samples


def _evidence(row: Row, language: str, side: Side) -> str | None:
    gold = row.gold.get(language)
    others = {normalise(text).casefold() for code, text in row.gold.items() if code != language}
    return None if gold and side == "target" and normalise(gold).casefold() in others else gold


def summarise(samples: Sequence[Sample]) -> dict[str, Any]:
    """The scores of one group of samples, as they stand in ``results.json``.

    ``language_ok`` is the share in the language of the prompt among the answers whose language could be
    decided, and None where there is no such answer; ``undecided`` is the number left out of it. ``lines_ok`` is the
    share of answers whose every decided line is in the language of the prompt, ``intrusion`` the share with an English
    word where the script is not Latin, ``looped`` the share that fell into a loop. ``right`` is the share with the
    right object in no other language than the prompt's, among the rows whose gold content is evidence: a bare name is
    too short for its language to be told, but it is the name in that language.

    Raises:
        ValueError: there are no samples, or both sides are mixed.
    """
    sides = {sample.side for sample in samples}
    if len(sides) != 1:
        raise ValueError(f"expected samples of one side, got {sorted(sides) or 'none'}")
    n = len(samples)
    verdicts = Counter(sample.verdict for sample in samples)
    decided = n - verdicts["undecided"]
    found = [sample.content for sample in samples if sample.content is not None]
    side = sides.pop()
    right = [s.content and s.verdict in (side, "undecided") for s in samples if s.content is not None]
    lines = [sample.right_lines == 1 for sample in samples if sample.right_lines is not None]
    looped = [sample.looped for sample in samples if sample.looped is not None]
    intruded = [sample.intrusion for sample in samples if sample.intrusion is not None]
    return {
        "n": n,
        "exact": sum(sample.exact for sample in samples) / n,
        "chrf": sum(sample.chrf for sample in samples) / n,
        "content": sum(found) / len(found) if found else None,
        "right": sum(map(bool, right)) / len(right) if right else None,
        "language": {verdict: verdicts[verdict] / n for verdict in VERDICTS},
        "language_ok": verdicts[side] / decided if decided else None,
        "undecided": verdicts["undecided"],
        "lines_ok": sum(lines) / len(lines) if lines else None,
        "intrusion": sum(intruded) / len(intruded) if intruded else None,
        "looped": sum(looped) / len(looped) if looped else None,
        "nll": sum(sample.nll for sample in samples) / n,
    }

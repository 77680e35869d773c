"""Generated answers against accepted ones: numbers, short texts, summaries."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from clo.data.prompt import Renderer
from clo.errors import UserError
from clo.evaluation.benchmarks.encode import window_of
from clo.evaluation.benchmarks.judge import asked, mean_of
from clo.evaluation.benchmarks.rows import AnswerRow
from clo.evaluation.benchmarks.tasks import Task, with_shots
from clo.evaluation.exact import chrf
from clo.evaluation.generate import Progress, generate

__all__ = ["chrf", "exact", "f1", "first_line", "judge_answers", "last_number", "rouge_l", "simplified"]

DECIMAL_COMMA = ("de", "id")
"""Languages, of the seven, that write 1.234,5 (CLDR); the others write 1,234.5."""

_NUMBER = re.compile(r"(?<![\w.,])?[-+]?\d(?:[\d.,'’_ \u00a0\u202f]*\d)?|[-+]?[.,]\d+")
_GROUPS = re.compile(r"[ '’_\u00a0\u202f](?=\d{3}(?!\d))")
_UNSPACED = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]"
)
"""Characters of scripts that put no spaces between words: kana, Han, Thai, Lao, Myanmar, Khmer."""


def first_line(text: str) -> str:
    """The text up to its first line break, the ones at its beginning aside: where lm-eval stops generating."""
    return text.strip().split("\n", 1)[0].strip()


def last_number(text: str, lang: str = "en") -> float | None:
    """The last number in a text, or None.

    Digits of any script are read (NFKC, Unicode decimal digits), numerals in words or Han characters are not. Where
    both a comma and a point occur the last of them is the decimal sign; one kind that occurs twice parts groups; a lone
    one before exactly three digits parts groups if it is the language's sign for that, and is the decimal sign
    otherwise (so 1,234 is 1234 in English and 1.234 in German). A hyphen after a digit or letter is no minus.
    """
    text = "".join(_plain_digit(char) for char in unicodedata.normalize("NFKC", text)).replace("\u2212", "-")
    found = list(re.finditer(r"(?<![\w)])[-+]?\d[\d.,'’_ ]*|\d[\d.,'’_ ]*", text))
    for match in reversed(found):
        value = _value(match.group(), lang)
        if value is not None:
            return value
    return None


def _plain_digit(char: str) -> str:
    return str(unicodedata.decimal(char)) if char.isdecimal() else char


def _value(text: str, lang: str) -> float | None:
    """The number that one run of digits and signs ends in."""
    text = re.sub(r"(?<=\d)[ '’_](?=\d{3}(?!\d))", "", text.rstrip(" .,'’_"))
    text = re.split(r"[ '’_]|,(?!\d)|\.(?!\d)", text)[-1]
    comma, point = text.count(","), text.count(".")
    if comma and point:
        decimal = "," if text.rfind(",") > text.rfind(".") else "."
    elif comma + point == 1:
        sign = "," if comma else "."
        grouping = "." if lang in DECIMAL_COMMA else ","
        head, tail = text.split(sign)
        grouped = sign == grouping and len(tail) == 3 and head.lstrip("+-") not in ("", "0")
        decimal = "" if grouped else sign
    else:
        decimal = ""
    plain = "".join(char for char in text if char not in ",." or char == decimal).replace(decimal or " ", ".")
    try:
        return float(plain)
    except ValueError:
        return None


def equal_numbers(answer: float | None, gold: float) -> bool:
    """Whether both are the same number up to rounding in the sixth digit."""
    return answer is not None and math.isclose(answer, gold, rel_tol=1e-6, abs_tol=1e-9)


def simplified(text: str) -> str:
    """NFKC, case folded, punctuation and symbols as spaces, one space between words; no articles are dropped.

    SQuAD's own normalisation drops English articles; one that is fair to all languages knows none.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join("".join(" " if unicodedata.category(char)[0] in "PS" else char for char in folded).split())


def pieces(text: str) -> list[str]:
    """Words of a simplified text; characters where the script puts no spaces between words."""
    return _UNSPACED.sub(lambda found: f" {found.group()} ", simplified(text)).split()


def exact(answer: str, accepted: Sequence[str]) -> bool:
    """Whether the answer is one of the accepted ones after `simplified`, spaces aside in scripts without them."""
    return any(pieces(answer) == pieces(text) for text in accepted)


def f1(answer: str, accepted: Sequence[str]) -> float:
    """Largest F1 of the answer's `pieces` against an accepted answer's, 0 to 1 (SQuAD, Rajpurkar et al. 2016)."""
    return max(_f1(pieces(answer), pieces(text)) for text in accepted)


def _f1(answer: list[str], gold: list[str]) -> float:
    if not answer or not gold:
        return float(answer == gold)
    common = sum((Counter(answer) & Counter(gold)).values())
    return 2 * common / (len(answer) + len(gold))


class _Pieces:
    """Tokenizer for rouge_score, whose own keeps nothing but a to z and digits."""

    def tokenize(self, text: str) -> list[str]:
        return pieces(text)


@lru_cache(maxsize=1)
def _rouge() -> Any:
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise UserError("ROUGE needs the package rouge-score; install clo[lm_eval]") from error
    return RougeScorer(["rougeL"], tokenizer=_Pieces())


def rouge_l(answer: str, reference: str) -> float:
    """F of the longest common subsequence of `pieces`, 0 to 1 (rouge_score's rougeL without stemming).

    Raises:
        UserError: the package is not installed.
    """
    return float(_rouge().score(reference, answer)["rougeL"].fmeasure)


def judge_answers(
    model: Any,
    renderer: Renderer,
    task: Task,
    rows: Sequence[AnswerRow],
    lang: str,
    shots: int = 0,
    limit: int | None = None,
    template: bool = False,
    max_tokens: int = 16384,
    max_new_tokens: int = 64,
    progress: Progress | None = None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Generate greedily up to a line break and score every answer.

    Arguments are those of :func:`clo.evaluation.benchmarks.judge.judge_choices`, and ``max_new_tokens``, the longest
    answer. A prompt that leaves no room for it in the window loses tokens on the left, which ``truncated`` counts.

    Returns:
        The summary: ``accuracy`` (number) or ``exact`` and ``f1`` (span), each of 0 to 1, the first with its 95 %
        bootstrap ``interval``, and ``f1_interval``. And per row: ``id``, ``text`` and ``right`` (and ``number`` or ``f1``).

    Raises:
        UserError: too few rows for the shots, or an accepted answer that is no number in a number task.
    """
    contexts = with_shots(task, "text", rows, shots, lang, limit)
    encode = renderer.prompt_ids if template else _plain(renderer)
    room = max(1, window_of(model, renderer.tokenizer) - max_new_tokens)
    prompts = [encode(text) for text in contexts]
    cut = [ids[-room:] for ids in prompts]
    texts = generate(model, renderer.tokenizer, cut, renderer.end_id, max_new_tokens, max_tokens, progress)
    score = _number if task.kind == "number" else _span
    results = [score(row, first_line(text), lang) for row, text in zip(rows, texts, strict=False)]
    right = mean_of(results, "right")
    summary: dict[str, Any] = {("accuracy" if task.kind == "number" else "exact"): right["value"]}
    summary["interval"] = right["interval"]
    if task.kind == "span":
        found = mean_of(results, "f1")
        summary |= {"f1": found["value"], "f1_interval": found["interval"]}
    truncated = sum(len(after) < len(before) for after, before in zip(cut, prompts, strict=True))
    counts = {"n": len(results), "truncated": truncated, "max_new_tokens": max_new_tokens}
    return summary | counts | asked(task, "text", shots, template, renderer), results


def _plain(renderer: Renderer) -> Any:
    return lambda text: renderer.tokenizer.encode(text, verbose=False)


def _number(row: AnswerRow, text: str, lang: str) -> dict[str, Any]:
    golds = [last_number(answer) for answer in row.answers]  # data sets write their answers the English way
    if None in golds:
        raise UserError(f"row {row.id!r}: the answer {row.answers} is no number; mend or drop the row")
    number = last_number(text, lang)
    right = any(equal_numbers(number, gold) for gold in golds if gold is not None)
    return {"id": row.id, "text": text, "number": number, "right": right}


def _span(row: AnswerRow, text: str, lang: str) -> dict[str, Any]:
    return {"id": row.id, "text": text, "right": exact(text, row.answers), "f1": f1(text, row.answers)}

"""What generated texts are compared by: the last number, short answers as sets of words, summaries."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from clo.errors import UserError
from clo.evaluation.exact import chrf

__all__ = ["chrf", "equal_numbers", "exact", "f1", "first_line", "last_number", "pieces", "rouge_l", "simplified"]

DECIMAL_COMMA = ("de", "id")
"""Languages, of the seven, that write 1.234,5 (CLDR); the others write 1,234.5."""

_NUMBER = re.compile(
    r"""(?:(?<![\w)])(?P<minus>-)[$€£¥]?)?  # a hyphen after a letter, a digit or a bracket is no sign
    (?:
      (?<![\d.,'’])(?P<grouped>\d{1,3}(?P<sign>[.,'’])\d{3}(?:(?P=sign)\d{3})*)(?:(?!(?P=sign))[.,](?P<rest>\d+))?
      (?![\d]|[.,]\d)
      | (?P<whole>\d+)(?:[.,](?P<decimals>\d+))?
      | (?<![\w.,])[.,](?P<part>\d+)
    )""",
    re.VERBOSE | re.ASCII,
)
_NARROW = re.compile("(?<=\\d)[\u00a0\u2009\u202f](?=\\d{3}(?!\\d))")
"""Spaces that do not break a line, between groups of digits; plain ones part numbers."""
_UNSPACED = re.compile(
    "[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]"
)
"""Characters of scripts that put no spaces between words: kana, Han, Thai, Lao, Myanmar, Khmer."""


def first_line(text: str) -> str:
    """The text up to its first line break, the ones at its beginning aside: where lm-eval stops generating."""
    return text.strip().split("\n", 1)[0].strip()


def last_number(text: str, lang: str = "en") -> float | None:
    """The last number in a text, or None.

    Digits of any script are read, numerals in words or Han characters are not. Where both a comma and a point occur the
    last of them is the decimal sign; one kind that parts several groups of three digits is no decimal sign; a lone one
    before three digits parts groups if it is the language's sign for that and no lone 0 precedes, and is the decimal
    sign otherwise (so 1,234 is 1234 in English and 1.234 in German).
    """
    text = unicodedata.normalize("NFKC", _NARROW.sub("'", text)).replace("\u2212", "-")
    text = "".join(str(unicodedata.decimal(char)) if char.isdecimal() else char for char in text)
    found = list(_NUMBER.finditer(text))
    return _value(found[-1], lang) if found else None


def _value(found: re.Match[str], lang: str) -> float:
    """The number of a match of ``_NUMBER``."""
    if found["part"]:
        value = float(f"0.{found['part']}")
    elif found["whole"]:
        value = float(f"{found['whole']}.{found['decimals'] or 0}")
    else:
        parts = found["grouped"].split(found["sign"])
        grouping = "." if lang in DECIMAL_COMMA else ","
        lone = len(parts) == 2 and found["rest"] is None and found["sign"] in ",."
        if lone and (found["sign"] != grouping or parts[0] == "0"):
            value = float(".".join(parts))
        else:
            value = float(f"{''.join(parts)}.{found['rest'] or 0}")
    return -value if found["minus"] else value


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

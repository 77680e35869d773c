"""What generated texts are compared by: short answers as sets of words, summaries by ROUGE-L."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

_UNSPACED = re.compile(
    "[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]"
)
"""Characters of scripts that put no spaces between words: kana, Han, Thai, Lao, Myanmar, Khmer."""
_HANGUL = re.compile("[\uac00-\ud7a3]")


def first_line(text: str) -> str:
    """The text up to its first line break, the ones at its beginning aside: where lm-eval stops generating."""
    return text.strip().split("\n", 1)[0].strip()


def simplified(text: str) -> str:
    """NFKC, case folded, punctuation and symbols as spaces, one space between words; no articles are dropped.

    SQuAD's own normalisation drops English articles; one that is fair to all languages knows none.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join("".join(" " if unicodedata.category(char)[0] in "PS" else char for char in folded).split())


def pieces(text: str, lang: str = "") -> list[str]:
    """Words of a simplified text; characters where the script puts no spaces between words.

    In Korean (``lang="ko"``), which writes particles and endings onto its words, they are syllables: by words a summary
    that says the same in another case would have nothing in common with its reference.
    """
    found = _UNSPACED.sub(_apart, simplified(text))
    return (_HANGUL.sub(_apart, found) if lang.startswith("ko") else found).split()


def _apart(found: re.Match[str]) -> str:
    return f" {found.group()} "


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

    def __init__(self, lang: str) -> None:
        self.lang = lang

    def tokenize(self, text: str) -> list[str]:
        return pieces(text, self.lang)


@lru_cache(maxsize=64)
def _rouge(lang: str) -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], tokenizer=_Pieces(lang))


def rouge_l(answer: str, reference: str, lang: str = "en") -> float:
    """F of the longest common subsequence of `pieces`, 0 to 1 (rouge_score's rougeL without stemming)."""
    return float(_rouge(lang).score(reference, answer)["rougeL"].fmeasure)

"""In which language is an answer: the target, the source, another one, or too little text to tell.

The identifier is py3langid; `docs/language_identification.md` has the measurement behind that choice and
behind every rule below. A language that it does not know is told by its script alone, or not at all.
"""

from __future__ import annotations

import copy
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, get_args

from clo.config import LangConfig
from clo.config.choices import Identify
from clo.errors import UserError
from clo.evaluation.scripts import is_letter, known_scripts, letters_by_script, scripts_of

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier as Detector

Verdict = Literal["target", "en", "other", "undecided"]
"""``en`` stands for the source language, whatever it is."""

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

_SEVEN = ("en", "zh", "de", "ko", "id", "sw", "yo")
_NEIGHBOURS = "fr es pt it nl vi ja ru ar th tr hi tl so zu xh sn"
CANDIDATES = frozenset({*_SEVEN, *_NEIGHBOURS.split()})
"""The languages of the experiment and their neighbours. A relative too close to one of them to tell the two
apart in a sentence (Malay, Indonesian; Afrikaans, Dutch) is no candidate unless it is the target."""

RIVALS = {"ms": "id", "af": "nl", "gl": "pt", "zu": "xh", "xh": "zu", "wuu": "zh", "yue": "zh"}
"""Target -> the candidate that gives way, because the two are not separable in short texts."""

ALIASES = {"nb": "no", "fil": "tl", "cmn": "zh", "iw": "he", "in": "id"}
"""Codes in use elsewhere -> the identifier's code."""

MIN_LETTERS = 20
"""An answer of fewer letters is undecided."""
DENSE_WEIGHT = 2.5
"""Letters that one Han, kana or Hangul character counts for: eight of them are enough."""

_NO_LATIN = (
    "am ar as be bg bn bo dz el fa gu he hi hy ja ka kk km kn ko ky lo mk ml mn mr my ne or pa ps ru si sr ta te tg th"
    " ti uk ur yue zh"
)
"""Languages that are not written in Latin letters: there, an English word stands out."""

_DENSE = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL")

_WORD = re.compile(r"(?<![A-Za-z\u00c0-\u024f])[a-z]{3,}(?![A-Za-z\u00c0-\u024f])")
_FENCED = re.compile(r"(```|~~~).*?(?:\1|\Z)", re.DOTALL)
_INLINE = re.compile(r"`[^`\n]+`")
_ADDRESS = re.compile(r"(?:[a-z][a-z0-9+.-]*://|www\.)\S+|\S+@\S+\.\w+", re.IGNORECASE)
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f]")
_KANA = re.compile(r"[\u3041-\u30ff]")
_HANGUL = re.compile(r"[\uac00-\ud7a3\u1100-\u11ff\u3131-\u318e]")


def prose(text: str) -> str:
    """What is left of ``text`` (NFC) without fenced code, inline code, URLs and e-mail addresses."""
    for pattern in (_FENCED, _INLINE, _ADDRESS):
        text = pattern.sub(" ", text)
    return unicodedata.normalize("NFC", text)


class LanguageIdentifier:
    """Tells target, source and other languages apart, offline."""

    def __init__(
        self, target: str, source: str = "en", by: Identify = Identify.auto, further: Sequence[str] = ()
    ) -> None:
        """Choose the candidates.

        Args:
            target: ISO 639-1 code of the run's target language; a region or script (``zh-Hans``) is ignored where
                py3langid decides.
            source: code of the language whose verdict is ``"en"``.
            by: what decides. By ``script``, a text is in the language whose script most of its letters have, and every
                text is undecided where target and source share one; by ``none``, every text is undecided.
            further: codes of other languages that `codes` tells.

        Raises:
            UserError: a code is unknown to py3langid where that decides, a script is unknown where it decides, or both
                are the same language.
        """
        self.by = by
        self.target, self.source = (_code(target), _code(source)) if by is Identify.auto else (target, source)
        if self.target == self.source:
            raise UserError(f"target and source are both '{target}': name a target other than the source")
        self._named = {_code(code) if by is Identify.auto else code: code for code in (target, source, *further)}
        self.candidates: tuple[str, ...] = ()
        self._scripts: tuple[frozenset[str], frozenset[str]] | None = None
        if by is Identify.auto:
            given_way = {RIVALS.get(code) for code in self._named if code != self.source} - self._named.keys()
            self.candidates = tuple(sorted({*CANDIDATES, *self._named} - given_way))
        elif by is Identify.script:
            scripts = _script(target), _script(source)
            self._scripts = None if scripts[0] & scripts[1] else scripts

    @classmethod
    def of(cls, lang: LangConfig) -> LanguageIdentifier:
        """The identifier of a run's languages; raises as the constructor does."""
        return cls(lang.code, lang.source, lang.identify)

    @classmethod
    def of_all(cls, lang: LangConfig) -> LanguageIdentifier:
        """What tells all languages of a run apart; where its targets are not told alike, nothing is told."""
        first, *rest = lang.targets()
        by = first.identify if all(one.identify is first.identify for one in rest) else Identify.none
        return cls(first.code, lang.source, by, [one.code for one in rest])

    def codes(self, texts: Sequence[str]) -> list[str]:
        """Of every text the code of a language that was named, ``other``, or ``undecided``."""
        return [self._language(prose(text)) for text in texts]

    def _language(self, text: str) -> str:
        if self.by is Identify.auto:
            best = self._best(text)
            return best if best == "undecided" else self._named.get(best, "other")
        if self.by is Identify.none:
            return "undecided"
        weights = _letters(text)
        if sum(weights.values()) < MIN_LETTERS:
            return "undecided"
        written = {code: sum(weights.get(script, 0) for script in _script(code)) for code in self._named}
        most, known = max(written.values()), frozenset[str]().union(*map(_script, self._named))
        if most < sum(weight for script, weight in weights.items() if script not in known):
            return "other"
        found = [code for code, weight in written.items() if weight == most]
        return found[0] if len(found) == 1 else "undecided"

    def verdicts(self, texts: Sequence[str]) -> list[Verdict]:
        """The verdict for every text, in order."""
        return [self._verdict(prose(text)) for text in texts]

    def right_lines(self, text: str, wanted: Verdict) -> float | None:
        """Share of the lines in the wanted language among those that can be decided; None where none can."""
        verdicts = [self._verdict(line) for line in prose(text).splitlines()]
        decided = [verdict == wanted for verdict in verdicts if verdict != "undecided"]
        return sum(decided) / len(decided) if decided else None

    def _verdict(self, text: str) -> Verdict:
        if self.by is not Identify.auto:
            return self._by_script(text)
        best = self._best(text)
        return "undecided" if best == "undecided" else self._word(best)

    def _best(self, text: str) -> str:
        """The candidate that a text is in, or ``undecided``."""
        han, kana, hangul = (len(script.findall(text)) for script in (_HAN, _KANA, _HANGUL))
        dense = DENSE_WEIGHT * (han + kana + hangul)
        letters = sum(map(is_letter, text)) - (han + kana + hangul) + dense
        if letters < MIN_LETTERS:
            return "undecided"
        if 2 * DENSE_WEIGHT * hangul > letters:
            return "ko"
        if 2 * DENSE_WEIGHT * han > letters and not kana and "zh" in self.candidates:
            return "zh"
        probabilities = dict(_detector(self.candidates).rank(text))
        best = max(probabilities, key=probabilities.__getitem__)
        if best not in self._named and probabilities[best] <= 0.5:
            # Foreign names in a short sentence scatter over many languages; a third one must win a majority.
            best = max(self._named, key=probabilities.__getitem__)
        return best

    def _by_script(self, text: str) -> Verdict:
        if self._scripts is None:
            return "undecided"
        weights = _letters(text)
        if sum(weights.values()) < MIN_LETTERS:
            return "undecided"
        target, source = (sum(weights.get(script, 0) for script in scripts) for scripts in self._scripts)
        other = sum(weights.values()) - target - source
        best = max(target, source, other)
        return "target" if best == target else "en" if best == source else "other"

    def _word(self, code: str) -> Verdict:
        return "target" if code == self.target else "en" if code == self.source else "other"


def _letters(text: str) -> dict[str, float]:
    """Letters by script, those that say more counted for more."""
    found = letters_by_script(text).items()
    return {script: count * (DENSE_WEIGHT if script in _DENSE else 1) for script, count in found}


def intrusion(answer: str, prompt: str, language: str) -> bool | None:
    """Whether an answer in a language without Latin letters has an English word in it.

    Counted are lower-case words of at least three Latin letters outside of code and addresses that the prompt does not
    have: names and abbreviations begin with a capital. None for languages in Latin letters, where words alone do not
    tell. (After the word pass rate of Marchisio et al. 2024, arXiv 2406.20052, which takes a dictionary of English.)
    """
    if re.split(r"[-_]", language.lower())[0] not in _NO_LATIN.split():
        return None
    given = set(_WORD.findall(prompt.lower()))
    return any(word not in given for word in _WORD.findall(prose(answer)))


def _code(language: str) -> str:
    """The identifier's own code for ``language``."""
    code = re.split(r"[-_]", language.lower())[0]
    code = ALIASES.get(code, code)
    if code not in _known():
        raise UserError(
            f"language code '{language}' is unknown to the language identifier (py3langid): unless it is mistyped, set "
            "lang.identify=script, which tells languages by their script alone and nothing where both share one, or "
            "lang.identify=none, which leaves every score of language empty"
        )
    return code


def _script(language: str) -> frozenset[str]:
    found = scripts_of(language)
    if found is None:
        raise UserError(
            f"lang.identify=script does not know the script of '{language}'; it has {' '.join(known_scripts())}"
        )
    return found


@lru_cache(maxsize=1)
def _known() -> frozenset[str]:
    return frozenset(_load().labels) - {"zxx"}


@lru_cache(maxsize=8)
def _detector(candidates: tuple[str, ...]) -> Detector:
    """An own instance for each candidate set: restricting one changes it."""
    detector = copy.copy(_load())  # the tables are shared, they never change
    detector.set_languages(candidates)
    return detector


@lru_cache(maxsize=1)
def _load() -> Detector:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)

"""Language verdicts on sentences whose language is known."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest

from clo.config import LangConfig
from clo.config.choices import Identify
from clo.errors import UserError
from clo.evaluation.fidelity import CANDIDATES, MIN_LETTERS, LanguageIdentifier, Verdict, intrusion, prose
from clo.evaluation.scripts import is_letter, known_scripts, letters_by_script, scripts_of

LONG = {
    "en": "The teacher explained why the river floods the valley every spring.",
    "zh": "老师解释了为什么这条河每年春天都会淹没山谷。",
    "de": "Die Lehrerin erklärte, warum der Fluss jedes Frühjahr das Tal überflutet.",
    "ko": "선생님은 강이 매년 봄 계곡을 범람시키는 이유를 설명했습니다.",
    "id": "Guru menjelaskan mengapa sungai itu membanjiri lembah setiap musim semi.",
    "sw": "Mwalimu alieleza kwa nini mto hufurika bonde kila majira ya kuchipua.",
    "yo": "Olùkọ́ ṣàlàyé ìdí tí odò náà fi máa ń kún bo àfonífojì ní gbogbo ìgbà ìrúwé.",
    "fr": "Le professeur a expliqué pourquoi la rivière inonde la vallée chaque printemps.",
    "nl": "De leraar legde uit waarom de rivier elk voorjaar de vallei overstroomt.",
    "ja": "先生は、なぜこの川が毎年春に谷を水浸しにするのかを説明しました。",
    "ru": "Учитель объяснил, почему река каждую весну затапливает долину.",
}
TARGETS = ("zh", "de", "ko", "id", "sw", "yo")


def expected(language: str, target: str) -> Verdict:
    return "target" if language == target else "en" if language == "en" else "other"


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("bn", "বাংলাদেশ একটি দেশের নাম।"),
        ("hi", "नीदरलैंड एक देश का नाम है।"),
        ("ta", "இந்தியா ஒரு நாட்டின் பெயர்."),
        ("th", "อินเดียเป็นชื่อประเทศ"),
    ],
)
def test_vowel_signs_count_as_letters(target: str, text: str) -> None:
    """An answer as long as an English one that counts is not left out of the rate: 20 letters, signs among them."""
    assert sum(map(str.isalpha, text)) < MIN_LETTERS <= sum(map(is_letter, text))
    for by in (Identify.auto, Identify.script):
        said = LanguageIdentifier(target, "en", by=by).verdicts([text, "It is the name of a country."])
        assert said == ["target", "en"]


def test_an_accent_is_no_letter_of_its_own() -> None:
    """However a text composes them; nor is what makes an emoji of a sign."""
    assert not any(map(is_letter, "\u2764\ufe0f 1\ufe0f\u20e3"))
    for form in ("NFC", "NFD"):
        assert sum(map(is_letter, unicodedata.normalize(form, LONG["yo"]))) == 59


@pytest.mark.parametrize("target", [*TARGETS, "fr", "nl", "ja", "ru"])
def test_every_language_under_every_target(target: str) -> None:
    verdicts = LanguageIdentifier(target).verdicts(list(LONG.values()))
    assert dict(zip(LONG, verdicts, strict=True)) == {code: expected(code, target) for code in LONG}


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("sw", "Sarafu ya Kenya ni Shilingi ya Kenya."),
        ("sw", "Sarafu ya Kyrgyzstan ni Som ya Kyrgystan."),
        ("sw", "Sarafu ya Thailand ni Baht ya Tailandi."),
        ("sw", "Lugha kuu ya Andorra ni Kikatalani."),
        ("yo", "Owó orílẹ̀-èdè Kyrgyzstan ni Som ti Kirgistan."),
        ("yo", "Èdè àkọ́kọ́ ní Ààndórà ni Èdè Katala."),
        ("id", "Mata uang Kirgizstan adalah Som Kirgizstan."),
        ("id", "Bahasa utama Andorra adalah Katalan."),
        ("de", "Die Währung von Kirgisistan ist Kirgisischer Som."),
        ("zh", "安道尔的货币是欧元 EUR。"),
        ("ko", "안도라의 통화는 유로입니다."),
    ],
)
def test_fact_sentences_full_of_names(target: str, text: str) -> None:
    english = "The currency of Kyrgyzstan is Kyrgystani Som."
    assert LanguageIdentifier(target).verdicts([text, english]) == ["target", "en"]


def test_a_third_language_needs_a_majority() -> None:
    """Best-scoring alone would call these English sentences Shona and French."""
    texts = ["The currency of Botswana is Botswanan Pula.", "The currency of Malawi is Malawian Kwacha."]
    assert LanguageIdentifier("sw").verdicts(texts) == ["en", "en"]


def test_short_texts_are_undecided() -> None:
    nineteen, twenty = "Sarafu ya Malta ni Yuro.", "Sarafu ya Maltaa ni Yuro."
    assert LanguageIdentifier("sw").verdicts(["", "42", "Euro.", nineteen]) == ["undecided"] * 4
    assert LanguageIdentifier("sw").verdicts([twenty]) == ["target"]


def test_eight_han_or_hangul_letters_are_enough() -> None:
    assert LanguageIdentifier("zh").verdicts(["货币是欧元人民", "货币是欧元人民币"]) == [
        "undecided",
        "target",
    ]
    assert LanguageIdentifier("ko").verdicts(["통화는유로입니", "통화는유로입니다"]) == [
        "undecided",
        "target",
    ]


def test_mixed_script_counts_what_is_said_in_it() -> None:
    react = "React의 useEffect 훅은 컴포넌트를 외부 시스템과 동기화할 수 있게 해줍니다."
    assert LanguageIdentifier("ko").verdicts([react]) == ["target"]
    quote = "The character 河 means river in the language of the neighbouring country."
    assert LanguageIdentifier("zh").verdicts([quote]) == ["en"]
    assert LanguageIdentifier("de").verdicts([LONG["zh"], LONG["ko"], LONG["ja"]]) == ["other"] * 3


def test_code_and_addresses_are_not_prose() -> None:
    fence = "```python\nprint('the quick brown fox')\n```"
    text = f"Siehe `x = 1` und\n{fence}\nauf https://en.example.org/the/page oder a@b.org an"
    assert prose(text).split() == ["Siehe", "und", "auf", "oder", "an"]
    assert prose("vorher\n```\nnever closed the fence").split() == ["vorher"]
    english_code = "```\nfor the sake of the argument we print this English line\n```\n"
    assert LanguageIdentifier("ko").verdicts([english_code, english_code + LONG["ko"]]) == [
        "undecided",
        "target",
    ]


def test_decomposed_text_is_the_same_text() -> None:
    texts = [unicodedata.normalize("NFD", LONG[code]) for code in ("yo", "ko", "de")]
    assert [LanguageIdentifier(c).verdicts([t]) for c, t in zip(("yo", "ko", "de"), texts, strict=True)] == [
        ["target"]
    ] * 3


def test_another_source_language_is_called_en() -> None:
    identifier = LanguageIdentifier("sw", source="de")
    assert identifier.verdicts([LONG["de"], LONG["en"], LONG["sw"]]) == ["en", "other", "target"]


def test_relatives_that_cannot_be_told_apart_give_way() -> None:
    assert "ms" not in CANDIDATES
    assert "id" not in LanguageIdentifier("ms").candidates
    assert "nl" not in LanguageIdentifier("af").candidates
    assert "nl" in LanguageIdentifier("af", source="nl").candidates


def test_codes() -> None:
    assert LanguageIdentifier("zh-Hans").target == "zh"
    assert LanguageIdentifier("pt_BR").target == "pt"
    assert LanguageIdentifier("nb").target == "no"


@pytest.mark.parametrize("code", ["xx", "zxx", "", "swahili"])
def test_unknown_code_is_named(code: str) -> None:
    with pytest.raises(UserError, match=f"'{code}' is unknown to the language identifier"):
        LanguageIdentifier(code)


def test_an_unknown_code_is_told_what_else_there_is() -> None:
    with pytest.raises(UserError, match=r"lang\.identify=script, .* lang\.identify=none, .*empty$") as refused:
        LanguageIdentifier.of(LangConfig(code="mi", name="Maori"))
    assert "\n" not in str(refused.value)


def test_by_script_alone() -> None:
    """Target, source, or a third script; what is short stays undecided, and code is no prose."""
    texts = [LONG["zh"], LONG["en"], LONG["sw"], LONG["ru"], LONG["ko"], "Да.", f"`{'x' * 40}`", ""]
    by_script = LanguageIdentifier("zh", by=Identify.script).verdicts(texts)
    assert by_script == ["target", "en", "en", "other", "other", "undecided", "undecided", "undecided"]
    tigrinya = "እቲ መምህር ሩባ ስለምንታይ ኣብ ጽድያ ንሸንጥሮ ከም ዘዕለቕልቕ ገሊጹ።"
    identifier = LanguageIdentifier.of(LangConfig(code="ti", name="Tigrinya", identify=Identify.script))
    mixed = f"{tigrinya}\n{LONG['en']}\n{tigrinya}"
    assert identifier.verdicts([tigrinya, LONG["en"], LONG["ja"], mixed]) == ["target", "en", "other", "target"]
    assert identifier.right_lines(mixed, "target") == pytest.approx(2 / 3)
    assert LanguageIdentifier("ja", by=Identify.script).verdicts([LONG["ja"], LONG["ru"]]) == ["target", "other"]


def test_languages_of_one_script_are_not_told_by_it() -> None:
    identifier = LanguageIdentifier("mi", by=Identify.script)
    assert set(identifier.verdicts(list(LONG.values()))) == {"undecided"}
    assert identifier.right_lines(LONG["en"], "en") is None
    assert set(LanguageIdentifier("ja", "zh", Identify.script).verdicts([LONG["ja"], LONG["zh"]])) == {"undecided"}


def test_the_script_of_a_code_wins_over_the_table() -> None:
    text = LONG["ru"]
    assert LanguageIdentifier("sr", by=Identify.script).verdicts([text]) == ["target"]
    assert LanguageIdentifier("sr-Latn", by=Identify.script).verdicts([text]) == ["undecided"]
    assert LanguageIdentifier("tt-cyrl", by=Identify.script).verdicts([text]) == ["target"]
    with pytest.raises(UserError, match="does not know the script of 'en-Xxxx'; it has Arab Armn "):
        LanguageIdentifier("en-Xxxx", "de", Identify.script)


def test_nothing_is_told() -> None:
    identifier = LanguageIdentifier("mi", by=Identify.none)
    assert set(identifier.verdicts(list(LONG.values()))) == {"undecided"}
    assert identifier.right_lines(LONG["en"], "en") is None
    with pytest.raises(UserError, match="both 'en'"):
        LanguageIdentifier("en", by=Identify.none)


def test_every_script_of_the_table_has_letters() -> None:
    """A slip in the first words of the Unicode names would find none."""
    there = letters_by_script("".join(map(chr, range(0x20000))))
    for code in known_scripts():
        assert all(there[word] > 20 for word in scripts_of(f"xx-{code}") or ["none"]), code


def test_the_two_tables_of_scripts_agree() -> None:
    from clo.evaluation import fidelity

    for language in vars(fidelity)["_NO_LATIN"].split():
        assert "LATIN" not in (scripts_of(language) or {"LATIN"}), language


def test_target_must_differ_from_source() -> None:
    with pytest.raises(UserError, match="both 'en'"):
        LanguageIdentifier("en")


@pytest.mark.parametrize("target", TARGETS)
def test_real_responses(shared_data: Path, target: str) -> None:
    """300 real responses a side: at least 99 % of those decided are right."""
    with (shared_data / "parallel" / f"{target}.jsonl").open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line, _ in zip(lines, range(300), strict=False)]
    identifier = LanguageIdentifier(target)
    for key, right in (("response", "target"), ("response_en", "en")):
        verdicts = [v for v in identifier.verdicts([row[key] for row in rows]) if v != "undecided"]
        assert len(verdicts) > 200
        assert verdicts.count(right) / len(verdicts) >= 0.99


def test_lines_of_an_answer_that_changes_its_language() -> None:
    """One verdict for the whole hides the line that slipped; code and short lines say nothing."""
    identifier = LanguageIdentifier("sw")
    answer = f"{LONG['sw']}\n{LONG['en']}\n```\n{LONG['fr']}\n```\nNdiyo.\n{LONG['sw']}"
    assert identifier.right_lines(answer, "target") == pytest.approx(2 / 3)
    assert identifier.right_lines(answer, "en") == pytest.approx(1 / 3)
    assert identifier.right_lines("Ndiyo.", "target") is None


@pytest.mark.parametrize(
    ("answer", "prompt", "language", "expected"),
    [
        ("나이로비는 케냐의 수도입니다.", "", "ko", False),
        ("나이로비는 케냐의 capital 입니다.", "", "ko", True),
        ("나이로비는 capital입니다.", "", "ko", True),  # particles are glued to it
        ("iPhone 과 NASA, Python 은 이름입니다.", "", "ko", False),
        ("함수 `print(value)` 는 https://example.org/page 에 있습니다.", "", "ko", False),
        ("단어 banana 는 과일입니다.", "What is a Banana?", "ko", False),
        ("这是 very 好的答案。", "", "zh-Hans", True),
        ("Nairobi is the capital.", "", "sw", None),
    ],
)
def test_english_words_in_another_script(answer: str, prompt: str, language: str, expected: bool | None) -> None:
    assert intrusion(answer, prompt, language) is expected


def test_real_parallel_rows_have_few_intruders(shared_data: Path) -> None:
    """Human and machine translations alike quote names, brands and formulas; whole English words are rare."""
    for language, most in (("zh", 0.12), ("ko", 0.15)):
        with (shared_data / "parallel" / f"{language}.jsonl").open(encoding="utf-8") as file:
            rows = [json.loads(line) for line, _ in zip(file, range(1000), strict=False)]
        assert sum(bool(intrusion(r["response"], r["prompt"], language)) for r in rows) / 1000 < most
        assert sum(bool(intrusion(r["response_en"], r["prompt"], language)) for r in rows) / 1000 > 0.8

"""The number metric against lm-eval's own filters and metric of MGSM; where they part, who is right and why."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from clo.data.rows import Row
from clo.evaluation.fidelity import LanguageIdentifier
from clo.evaluation.tasks import Metric, score_tasks

LANGUAGES = ("en", "de", "sw", "zh")
SENTENCES = {
    "en": "The answer is {}.",
    "de": "Die Antwort lautet {}.",
    "sw": "Jibu ni {}.",
    "zh": "答案是 {}。",
}
"""What lm-eval's native tasks ask a chain of thought to end with."""


class Instance:
    """As much of lm-eval's as a filter needs."""

    def __init__(self, text: str) -> None:
        self.resps, self.doc = [text], {}
        self.filtered_resps: dict[str, str] = {}


def theirs(kind: str, lang: str, name: str, answers: Sequence[str], golds: Sequence[str]) -> list[bool]:
    """lm-eval's verdicts: the filters and the metric of its task's own file."""
    tasks = pytest.importorskip("lm_eval.tasks", reason="needs lm-eval, to hold MGSM's scores against")
    from lm_eval.api.metrics import exact_match_hf_evaluate
    from lm_eval.filters import build_filter_ensemble
    from lm_eval.tasks._yaml_loader import load_yaml

    place = Path(tasks.__file__).parent / "mgsm" / kind / f"mgsm_{kind}_{lang}.yaml"
    config: dict[str, Any] = load_yaml(place)
    (found,) = (one["filter"] for one in config["filter_list"] if one["name"] == name)
    steps = [(step["function"], {k: v for k, v in step.items() if k != "function"}) for step in found]
    instances = [Instance(answer) for answer in answers]
    build_filter_ensemble(name, steps).apply(instances)
    (metric,) = config["metric_list"]
    how = {key: metric[key] for key in ("ignore_case", "ignore_punctuation")}
    read = [one.filtered_resps[name] for one in instances]
    return [
        bool(exact_match_hf_evaluate([number], [gold], **how)["exact_match"])
        for number, gold in zip(read, golds, strict=True)
    ]


def ours(lang: str, answers: Sequence[str], golds: Sequence[str]) -> list[bool]:
    """Without the gate of language, which lm-eval has not."""
    rows = [Row(str(k), {lang: "?"}, {lang: gold}, {lang: gold}, task="mgsm") for k, gold in enumerate(golds)]
    identifier = LanguageIdentifier("sw", further=["zh", "de"])
    samples = score_tasks(rows, lang, answers, identifier, {"mgsm": Metric.number})
    return [sample.ungated == 1 for sample in samples]


RECORDED = {
    "en": [
        ("Janet sells 16 - 3 - 4 = 9 duck eggs a day. She makes 9 * 2 = $18 every day.", "18", True),
        ("2 / 2 = 1, so it takes 2 + 1 = 3 bolts.", "3", True),
        ("He made a profit of 200,000 - 130,000 = $70,000", "70000", True),
        ("The answer is 70,000.", "70000", True),
        ("540 meters a week, I believe", "540", True),
        ("He loses 5, so -5", "-5", True),
        ("I cannot tell.", "18", False),
        ("", "18", False),
        ("The answer is 18, not 19", "18", False),
        ("18 apples and 2", "18", False),
    ],
    "de": [
        ("Sie verkauft 16 - 3 - 4 = 9 Eier und nimmt 9 * 2 = 18 Dollar ein.", "18", True),
        ("Der Gewinn beträgt 200.000 - 130.000 = 70.000 Dollar.", "70000", True),
        ("Die Antwort lautet 1.080.", "1080", True),
        ("Es sind 3", "3", True),
        ("Es sind 3, vielleicht auch 4.", "3", False),
    ],
    "sw": [
        ("Kila siku huuza mayai 9, hivyo hupata dola 18.", "18", True),
        ("Faida ni $70,000", "70000", True),
        ("Jibu ni 540.", "540", True),
        ("Sijui", "540", False),
    ],
    "zh": [
        ("她每天剩下 16 - 7 = 9 个鸡蛋，因此赚 9 * 2 = 18 美元。答案是18。", "18", True),
        ("利润是 200,000 - 130,000 = 70,000 美元", "70000", True),
        ("答案是 3。", "3", True),
        ("答案是 3。一共 4 匹", "3", False),
        ("我不知道", "3", False),
    ],
}
"""Answers as models write them: text, gold number, whether it is right; both sides say the same."""

PARTED = {
    "en": [
        ("It costs $16.00", "16", True),  # lm-eval drops the point: 1600
        ("It is 18.50", "1850", False),  # and takes 18.50 for 1850
        ("He has 5", "-5", False),  # the sign is punctuation to it
        ("1,50", "150", False),
        ("A crayon costs 2 $.", "2", True),  # lm-eval's last "number" is "$."
        ("There are 12.\n...", "12", True),  # and here "..."
    ],
    "de": [("Das kostet 8,50 Dollar.", "850", False), ("Es kostet 16,00 $", "16", True)],
    "sw": [("Jibu ni 12.0", "12", True)],
    "zh": [
        ("答案是１８。", "18", True),  # digits of full width
        ("答案是十八。", "18", True),  # numerals
        ("利润是 7万 美元", "70000", True),  # and units
    ],
}
"""Answers on which both part, with what is right: ours."""


@pytest.mark.parametrize("lang", LANGUAGES)
def test_recorded_answers_get_lm_evals_verdict(lang: str) -> None:
    answers, golds, right = zip(*RECORDED[lang], strict=True)
    assert ours(lang, answers, golds) == list(right)
    for kind in ("direct", "native_cot"):
        assert theirs(kind, lang, "flexible-extract", answers, golds) == list(right)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_where_both_part_ours_is_right(lang: str) -> None:
    answers, golds, right = zip(*PARTED[lang], strict=True)
    assert ours(lang, answers, golds) == list(right)
    assert theirs("direct", lang, "flexible-extract", answers, golds) == [not one for one in right]


@pytest.mark.parametrize("lang", LANGUAGES)
def test_real_rows_get_lm_evals_verdict(lang: str, shared_data: Path) -> None:
    """Their answers and wrong ones, bare, in the sentence of the native tasks, and behind the real question."""
    path = shared_data / "eval" / "mgsm" / f"{lang}.jsonl"
    if not path.is_file():
        pytest.skip(f"needs the real rows in {path}")
    rows = [json.loads(line) for line in path.open(encoding="utf-8")]
    numbers, golds = [row["answer"] for row in rows], [row["answer"] for row in rows]
    wrong = [str(int(number) + 1) for number in numbers]
    groups = "{:,}" if lang != "de" else "{:.0f}"
    written = [groups.format(int(number)) for number in numbers]
    for values, right in ((numbers, True), (written, True), (wrong, False)):
        sentences = [SENTENCES[lang].format(value) for value in values]
        reasoned = [f"{row['question']} {text}" for row, text in zip(rows, sentences, strict=True)]
        for answers in (values, sentences, reasoned):
            assert ours(lang, answers, golds) == [right] * len(rows)
            assert theirs("direct", lang, "flexible-extract", answers, golds) == [right] * len(rows)
        assert theirs("native_cot", lang, "strict-match", sentences, golds) == [right] * len(rows)
    questions = [row["question"] for row in rows]
    assert ours(lang, questions, golds) == theirs("direct", lang, "flexible-extract", questions, golds)

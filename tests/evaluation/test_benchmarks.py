"""Benchmarks: rows, prompts, options scored as lm-eval scores them, numbers, short answers, storing."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from typing import Any

import pytest
from conftest import TEXTS, metaspace_tokenizer, tiny_model

from clo.data.prompt import Renderer
from clo.errors import UserError
from clo.evaluation.benchmarks import choice as choice_module
from clo.evaluation.benchmarks import run as run_module
from clo.evaluation.benchmarks.choice import score_questions
from clo.evaluation.benchmarks.encode import Question, encode_plain, encode_rendered, window_of
from clo.evaluation.benchmarks.lm_eval import evaluate_lm_eval
from clo.evaluation.benchmarks.multiple_choice import questions_of, score_choices
from clo.evaluation.benchmarks.options import BenchmarkOptions, BenchmarkSide
from clo.evaluation.benchmarks.rows import ChoiceRow, answer_rows, choice_rows
from clo.evaluation.benchmarks.run import Store, evaluate_benchmarks
from clo.evaluation.benchmarks.shared import families
from clo.evaluation.benchmarks.sources import hub_source, records_of_file, records_of_hub
from clo.evaluation.benchmarks.tasks import TASKS, gold, prompt, with_shots
from clo.evaluation.benchmarks.texts import chrf, exact, f1, first_line, last_number, rouge_l
from clo.evaluation.subject import Subject
from clo.nano import WEIGHTS


@pytest.fixture(scope="module")
def nano() -> tuple[Any, Any]:
    """A random Llama with the nano model's tokenizer and a window that the prompts fit."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(WEIGHTS)
    config.num_hidden_layers, config.hidden_size, config.intermediate_size = 2, 64, 96
    config.head_dim, config.num_attention_heads, config.num_key_value_heads = 16, 4, 2
    config.max_position_embeddings, config.initializer_range = 2048, 0.2
    return AutoModelForCausalLM.from_config(config).eval(), AutoTokenizer.from_pretrained(WEIGHTS)


def harness_log_probs(model: Any, tokenizer: Any, questions: list[Question], window: int | None = None) -> list[float]:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    lm = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=8, max_length=window)
    asked = [
        Instance("loglikelihood", {}, (question.context, option), n)
        for n, question in enumerate(questions)
        for option in question.continuations
    ]
    return [value for value, _ in lm.loglikelihood(asked, disable_tqdm=True)]


@pytest.mark.parametrize("shots", [0, 2])
@pytest.mark.parametrize("scoring", ["letters", "answers"])
@pytest.mark.parametrize(("name", "lang"), [("belebele", "en"), ("belebele", "de"), ("cmmlu", "zh")])
def test_log_probs_equal_those_of_the_harness(
    nano: tuple[Any, Any], shared_data: Path, name: str, lang: str, scoring: str, shots: int
) -> None:
    model, tokenizer = nano
    rows = choice_rows(records_of_file(shared_data / "eval" / name / f"{lang}.jsonl"))[:6]
    questions = questions_of(BenchmarkSide(TASKS[name], lang, rows), scoring, BenchmarkOptions(shots=shots))
    window = window_of(model, tokenizer)
    ours = score_questions(model, questions, encode_plain(tokenizer, questions), window, 4096)
    theirs = harness_log_probs(model, tokenizer, questions)
    assert [value for row in ours.log_probs for value in row] == pytest.approx(theirs, abs=1e-4)


@pytest.mark.parametrize("scoring", ["letters", "answers"])
def test_too_long_rows_are_cut_like_the_harness_cuts(nano: tuple[Any, Any], shared_data: Path, scoring: str) -> None:
    model, tokenizer = nano
    rows = choice_rows(records_of_file(shared_data / "eval" / "belebele" / "de.jsonl"))[:8]
    questions = questions_of(BenchmarkSide(TASKS["belebele"], "de", rows), scoring, BenchmarkOptions())
    ours = score_questions(model, questions, encode_plain(tokenizer, questions), 300, 4096)
    assert 0 < ours.truncated < len(rows)
    assert [value for row in ours.log_probs for value in row] == pytest.approx(
        harness_log_probs(model, tokenizer, questions, 300), abs=1e-4
    )


def test_a_tokenizer_with_bos_gives_the_harness_numbers() -> None:
    model, tokenizer = tiny_model(), metaspace_tokenizer()
    questions = [
        Question(str(n), context, (f" {b}", f" {d}", " a"))
        for n, (a, b, c, d) in enumerate(TEXTS)
        for context in (a, f"{c}  ", f"<s>{a}")
    ]
    ours = score_questions(model, questions, encode_plain(tokenizer, questions), 256, 512)
    theirs = harness_log_probs(model, tokenizer, questions)
    assert [value for row in ours.log_probs for value in row] == pytest.approx(theirs, abs=1e-4)


@pytest.mark.parametrize("scoring", ["letters", "answers"])
def test_options_that_do_not_share_work_give_the_same(
    nano: tuple[Any, Any], scoring: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = nano
    rows = [ChoiceRow(str(k), "", f"question {k}?", ("one", "two and a half", "3"), 0) for k in range(5)]
    rows.append(ChoiceRow("fewer", "", "another?", ("yes", "no"), 0))  # rows may differ in their number of options
    questions = questions_of(BenchmarkSide(TASKS["mmmlu"], "en", rows), scoring, BenchmarkOptions(shots=2))
    pairs = encode_plain(tokenizer, questions)
    seen: list[tuple[int, int]] = []
    packed = score_questions(model, questions, pairs, 512, 200, lambda *now: seen.append(now)).log_probs
    assert seen[-1] == (6, 6) and [len(row) for row in packed] == [3, 3, 3, 3, 3, 2]
    monkeypatch.setattr(choice_module, "packs", lambda *_: False)
    monkeypatch.setattr("clo.square.scores.packs", lambda *_: False)
    padded = score_questions(model, questions, pairs, 512, 200).log_probs
    for one, other in zip(packed, padded, strict=True):
        assert one == pytest.approx(other, abs=1e-4)


def test_families_share_examples_and_passages() -> None:
    shots = list(range(100))
    prompts = [[*shots, 200 + k, 7] for k in range(5)] + [[300, 301, 302, 1], [300, 301, 302, 2], [400]]
    found = {tuple(sorted(family.members)): family.common for family in families(prompts, 1000)}
    assert found == {(0, 1, 2, 3, 4): 100, (5, 6): 3, (7,): 0}
    assert all(family.tokens(prompts) <= 105 for family in families(prompts, 105))
    assert sorted(k for family in families([[1, 2], [1, 2], [1]], 9) for k in family.members) == [0, 1, 2]


def test_with_a_template_the_question_is_a_turn(nano: tuple[Any, Any]) -> None:
    model, tokenizer = nano
    renderer = Renderer(tokenizer, "chat")
    row = ChoiceRow("r", "", "Which?", ("this", "that"), 1)
    side, options = BenchmarkSide(TASKS["mmmlu"], "en", [row]), BenchmarkOptions(template=True)
    pairs = encode_rendered(renderer, questions_of(side, "letters", options))
    assert pairs[0][0][0] == renderer.prompt_ids("Which?\nA. this\nB. that\nAnswer:")
    assert [tokenizer.decode(option) for _, option in pairs[0]] == ["A", "B"]
    summary, results = score_choices(Subject(model, renderer), side, "letters", options)
    assert summary["template"] == "chat" and summary["n"] == 1 and len(results[0]["log_probs"]) == 2


def test_weights_that_give_no_numbers_are_refused(nano: tuple[Any, Any]) -> None:
    import copy

    model, tokenizer = nano
    broken = copy.deepcopy(model)
    broken.model.norm.weight.data.fill_(float("nan"))
    questions = [Question("row 1", "a", (" b", " c"))]
    with pytest.raises(UserError, match="row 1"):
        score_questions(broken, questions, encode_plain(tokenizer, questions), 512, 100)
    with pytest.raises(UserError, match="longer than the window"):
        score_questions(model, questions, [[([1], [1] * 9)]], 8, 100)


# Rows.

UNIFIED = {"id": "1", "question": "q", "choices": ["a", "b"], "answer": 1}
BELEBELE = {
    "link": "http://x",
    "question_number": 2,
    "flores_passage": "p",
    "question": "q",
    **{f"mc_answer{n}": f"c{n}" for n in range(1, 5)},
    "correct_answer_num": "3",
}
MMMLU = {"Question": "q", "A": "1", "B": "2", "C": "3", "D": "4", "Answer": "D", "Subject": "law"}
MMLU = {"question": "q", "subject": "law", "choices": ["1", "2", "3", "4"], "answer": 0}


@pytest.mark.parametrize(
    ("record", "row"),
    [
        (UNIFIED, ChoiceRow("1", "", "q", ("a", "b"), 1)),
        (BELEBELE, ChoiceRow("http://x#2", "p", "q", ("c1", "c2", "c3", "c4"), 2)),
        (MMMLU, ChoiceRow("0", "", "q", ("1", "2", "3", "4"), 3, "law")),
        (MMLU, ChoiceRow("0", "", "q", ("1", "2", "3", "4"), 0, "law")),
    ],
)
@pytest.mark.parametrize("kind", ["jsonl", "parquet", "csv"])
def test_every_schema_is_read(record: dict[str, Any], row: ChoiceRow, kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{kind}"
    if kind == "jsonl":
        path.write_text("\ufeff" + json.dumps(record) + "\n\n", encoding="utf-8")
    elif kind == "parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist([record]), path)
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([record.keys(), record.values()])
    if kind == "csv" and "choices" in record:  # a list is no cell
        with pytest.raises(UserError, match="row 1: 'choices' must be a list"):
            choice_rows(records_of_file(path))
        return
    assert choice_rows(records_of_file(path)) == [row]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"choices": None}, "choices"),
        ({"choices": ["a"]}, "choices"),
        ({"choices": ["a", " "]}, "choices"),
        ({"answer": 2}, "from 0 to 1"),
        ({"answer": "1"}, "'answer'"),
        ({"answer": True}, "'answer'"),
        ({"question": "  "}, "'question'"),
        ({"context": 3.5j}, "'context'"),
        ({**BELEBELE, "correct_answer_num": "5"}, "'correct_answer_num' is '5'"),
        ({**BELEBELE, "mc_answer2": None}, "'mc_answer2'"),
        ({**MMMLU, "Answer": "E"}, "'Answer' is 'E'"),
        ({**MMMLU, "B": ""}, "'B'"),
    ],
)
def test_bad_rows_are_told_with_file_row_and_key(change: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match="f, row 7") as error:
        choice_rows([("f, row 7", {**UNIFIED, **change})])
    assert told in str(error.value)


@pytest.mark.parametrize("record", [UNIFIED, BELEBELE, MMMLU])
def test_a_missing_column_is_named(record: dict[str, Any]) -> None:
    for key in set(record) - {"id", "link", "question_number", "Subject"}:
        with pytest.raises(UserError, match="f, row 7"):
            choice_rows([("f, row 7", {name: value for name, value in record.items() if name != key})])


def test_answers_are_read_in_every_form() -> None:
    squad = {"id": "1", "context": "c", "question": "q", "answers": {"text": ["a", "b"], "answer_start": [1, 2]}}
    assert answer_rows([("", squad)])[0].answers == ("a", "b")
    assert answer_rows([("", {"question": "q", "answer": None, "answer_number": 18})])[0].answers == ("18",)
    assert answer_rows([("", {"question": "q", "answer": "4.0"})])[0].answers == ("4.0",)
    for wrong in ({}, {"answers": []}, {"answers": [" "]}):
        with pytest.raises(UserError, match=r"f, row 1.*answers"):
            answer_rows([("f, row 1", {"question": "q", **wrong})])


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("x.jsonl", None, "does not exist"),
        ("x.txt", b"x", "give a .jsonl"),
        ("x.jsonl", b"", "holds no rows"),
        ("x.csv", b"question,choices\n", "holds no rows"),
        ("x.jsonl", b'{"question": "\xff"}', "line 1 is not UTF-8"),
        ("x.csv", b"Question,A\n\xff,b\n", "not UTF-8"),
        ("x.jsonl", b"\n{", "line 2 is not JSON"),
        ("x.jsonl", b"[]", "line 1 is not a JSON object"),
        ("x.parquet", b"no", "not a readable Parquet"),
        ("x.jsonl", b'{"id": 1, "question": "q", "choices": ["a", "b"], "answer": 0}\n' * 2, "line 2: the id '1'"),
        ("x.jsonl", b'{"other": 1}', "line 1: the columns other"),
    ],
)
def test_bad_files_are_told(name: str, content: bytes | None, told: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=told) as error:
        choice_rows(records_of_file(tmp_path / name))
    assert name in str(error.value) and "\n" not in str(error.value)


def test_the_hub_is_asked_by_language(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def load(*args: Any, **named: Any) -> Any:
        asked.append((*args, named["split"], named["revision"]))
        return datasets.Dataset.from_list([MMMLU] * 3)

    asked: list[Any] = []
    monkeypatch.setattr(datasets, "load_dataset", load)
    assert len(choice_rows(records_of_hub("mmmlu", "sw", "abc", 2))) == 2
    assert hub_source("belebele", "yo") == ("facebook/belebele", "yor_Latn", "test")
    assert hub_source("mmmlu", "en") == ("cais/mmlu", "all", "test")
    assert asked == [("openai/MMMLU", "SW_KE", "test", "abc")]
    with pytest.raises(UserError, match="belebele has no language 'fr'; it has en, zh"):
        hub_source("belebele", "fr")
    with pytest.raises(UserError, match="kornli is read from local files only"):
        hub_source("kornli", "ko")
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: 1 / 0)
    with pytest.raises(UserError, match=r"cannot be read from the hub \(ZeroDivisionError"):
        list(records_of_hub("belebele", "sw"))


@pytest.mark.parametrize("name", TASKS)
def test_real_rows_become_prompts(name: str, shared_data: Path) -> None:
    task = TASKS[name]
    for path in sorted((shared_data / "eval" / name).glob("*.jsonl")):
        reader = choice_rows if task.kind == "choice" else answer_rows
        rows: list[Any] = reader(records_of_file(path))
        for scoring in ("letters", "answers") if task.kind == "choice" else ("text",):
            texts = with_shots(task, scoring, rows, 2, path.stem)
            assert len(texts) == len(rows) and not any(text != text.strip() for text in texts)
            assert all(gold(task, scoring, row).strip() for row in rows)
        if task.kind == "number":
            assert all(last_number(answer) is not None for row in rows for answer in row.answers)


def test_examples_are_never_the_row_itself() -> None:
    rows = [ChoiceRow(str(k), "p", f"q{k}", ("a", "b"), k % 2) for k in range(4)]
    first, *_, last = with_shots(TASKS["belebele"], "letters", rows, 2, "en")
    assert first == "P: p\nQ: q1\nA: a\nB: b\nAnswer: B\n\nP: p\nQ: q2\nA: a\nB: b\nAnswer: A\n\n" + prompt(
        TASKS["belebele"], "letters", rows[0], "en"
    )
    assert "q0" in last and "q1" in last and "q2" not in last
    assert len(with_shots(TASKS["belebele"], "letters", rows, 2, "en", limit=1)) == 1
    with pytest.raises(UserError, match="too few for 4 shots"):
        with_shots(TASKS["belebele"], "letters", rows, 4, "en")


def test_xcopa_speaks_the_language() -> None:
    row = ChoiceRow("1", "Pria itu pakai lotion.", "cause", ("Ia duduk.", "Ia pergi."), 1)
    assert prompt(TASKS["xcopa"], "answers", row, "id") == "Pria itu pakai lotion karena"
    assert gold(TASKS["xcopa"], "answers", row) == "ia pergi."
    with pytest.raises(UserError, match="no wording for the language 'de'"):
        prompt(TASKS["xcopa"], "answers", row, "de")


# Numbers and short answers.


@pytest.mark.parametrize(
    ("text", "lang", "number"),
    [
        ("The answer is 18.", "en", 18),
        ("first 3, then 5", "en", 5),
        ("$1,234.50", "en", 1234.5),
        ("1.234,50 Euro", "de", 1234.5),
        ("1,234", "en", 1234),
        ("1,234", "de", 1.234),
        ("1.234", "de", 1234),
        ("1.234", "sw", 1.234),
        ("0.125", "id", 0.125),
        ("1.234.567", "en", 1234567),
        ("12\u202f345", "de", 12345),
        ("1,2,3", "en", 3),
        ("10-5", "en", 5),
        ("minus: -5", "en", -5),
        ("−7", "en", -7),
        ("-$7", "en", -7),
        (".5", "en", 0.5),
        ("答案是１８。", "zh", 18),
        ("٣٤", "en", 34),
        ("twenty 20 30", "en", 30),
        ("keine", "de", None),
        ("", "en", None),
    ],
)
def test_the_last_number_is_found(text: str, lang: str, number: float | None) -> None:
    assert last_number(text, lang) == number


def test_short_answers_are_compared_in_every_script() -> None:
    assert exact("  Nairobi. ", ["mombasa", "NAIROBI"]) and not exact("the Nairobi", ["Nairobi"])
    assert exact("ＡＢＣ", ["abc"]) and exact("北京 大学", ["北京大学。"]) and exact("STRASSE", ["straße"])
    assert f1("in Nairobi", ["Nairobi"]) == pytest.approx(2 / 3)
    assert f1("北京市", ["北京"]) == pytest.approx(4 / 5)
    assert f1("Ẹ̀mẹẹ̀rin", ["Ẹ̀mẹẹ̀rin"]) == 1 and f1("", ["x"]) == 0
    assert first_line("\n 18\nQ: next") == "18"
    assert rouge_l("北京大学", "北京") == pytest.approx(2 / 3) and chrf("same", "same") == pytest.approx(100)


# Runs.


def write_rows(folder: Path, name: str, lang: str, rows: list[dict[str, Any]]) -> None:
    (folder / name).mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / name / f"{lang}.jsonl").write_text(lines, encoding="utf-8")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    for lang, word in (("en", "Which"), ("de", "Welche")):
        rows = [{**UNIFIED, "id": str(k), "context": "p", "question": f"{word} {k}?"} for k in range(4)]
        write_rows(folder, "belebele", lang, rows)
        write_rows(folder, "mgsm", lang, [{"id": str(k), "question": f"{word} {k}?", "answer": str(k)} for k in (1, 2)])
    write_rows(folder, "xquad", "de", [{"id": "1", "context": "p", "question": "q", "answers": ["a"]}])
    return folder


def test_both_sides_are_evaluated_stored_and_resumed(
    nano: tuple[Any, Any], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = nano
    renderer, store = Renderer(tokenizer, "chat"), tmp_path / "store"
    options = BenchmarkOptions(str(data), 1, ["letters", "answers"], max_new_tokens=4)
    names = ["belebele", "mgsm"]

    def evaluate(**changes: Any) -> dict[str, Any]:
        given = {"options": options, "store": Store(store, "w"), "names": names, **changes}
        return evaluate_benchmarks(Subject(model, renderer), languages=("en", "de"), **given)

    seen: list[tuple[str, int, int]] = []
    first = evaluate(progress=lambda *now: seen.append(now))
    assert ("belebele target letters", 4, 4) in seen and ("mgsm en number", 2, 2) in seen
    target = first["results"]["belebele"]["target"]
    assert set(target) == {"letters-1shots", "answers-1shots"}
    assert set(first["results"]["mgsm"]["en"]) == {"number-1shots"}
    assert target["letters-1shots"]["prompt"] == "P: {context}\nQ: {question}\n{{letter}: {choice}}\nAnswer:"
    assert target["letters-1shots"]["shots"] == 1 and "test split" in target["letters-1shots"]["shots_from"]
    assert target["answers-1shots"]["chance"] == 0.5
    assert {"accuracy_norm", "accuracy_bytes"} <= set(target["answers-1shots"])
    low, high = target["letters-1shots"]["interval"]
    rights = [row["right"] for row in first["rows"]["belebele"]["target"]["letters-1shots"]]
    assert low <= target["letters-1shots"]["accuracy"] == sum(rights) / 4 <= high
    again = json.loads((store / "belebele-target.json").read_text(encoding="utf-8"))
    assert again["rows"] == first["rows"]["belebele"]["target"]

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("made again")

    scorers = {name: getattr(run_module, name) for name in ("score_choices", "score_answers")}
    for name in scorers:
        monkeypatch.setattr(run_module, name, refuse)
    assert evaluate() == first
    assert evaluate(options=BenchmarkOptions(str(data), 1, ["letters", "answers"], None, False, 99, 4)) == first
    for changed in ({"store": Store(store, "v")}, {"options": BenchmarkOptions(str(data), 0, ["letters", "answers"])}):
        with pytest.raises(AssertionError, match="made again"):
            evaluate(**changed)
    (store / "mgsm-en.json").write_text("{", encoding="utf-8")  # broken off: only this one is made again
    monkeypatch.setattr(run_module, "score_answers", scorers["score_answers"])
    assert evaluate() == first
    write_rows(data, "belebele", "de", [{**UNIFIED, "id": str(k)} for k in range(3)])
    with pytest.raises(AssertionError, match="made again"):
        evaluate()


def test_a_side_that_lacks_is_left_out_with_its_reason(nano: tuple[Any, Any], data: Path) -> None:
    model, tokenizer = nano
    renderer, options = Renderer(tokenizer, "{prompt}"), BenchmarkOptions(str(data), max_new_tokens=2)
    found = evaluate_benchmarks(Subject(model, renderer), ["xquad"], ("en", "de"), options)
    assert set(found["results"]["xquad"]) == {"target"} and {"exact", "f1"} <= set(
        found["results"]["xquad"]["target"]["span"]
    )
    assert "xquad/en.jsonl" in found["left_out"]["xquad"]["en"]
    with pytest.raises(UserError, match="kornli has neither language: kornli has no language 'de'; it has ko"):
        evaluate_benchmarks(Subject(model, renderer), ["kornli"], ("en", "de"), options)


@pytest.mark.parametrize(
    ("names", "options", "told"),
    [
        (["bele"], {}, "no benchmark 'bele'; there are belebele"),
        (["mgsm", "mgsm"], {}, "benchmarks.names"),
        (["mgsm"], {"scoring": []}, "benchmarks.scoring"),
        (["mgsm"], {"scoring": ["words"]}, "words"),
        (["mgsm"], {"shots": -1}, "benchmarks.shots"),
        (["mgsm"], {"limit": 0}, "benchmarks.limit"),
        (["mgsm"], {"data": "/no/such"}, "benchmarks.data=/no/such"),
    ],
)
def test_bad_options_are_told(names: list[str], options: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        evaluate_benchmarks(None, names, ("en", "de"), BenchmarkOptions(**options))  # type: ignore[arg-type]


TASK = """task: own_belebele
dataset_path: json
dataset_kwargs: {data_files: {test: FILE}}
test_split: test
fewshot_split: test
fewshot_config: {sampler: first_n}
output_type: multiple_choice
doc_to_text: "P: {{context.strip()}}\\nQ: {{question.strip()}}\\n\
{% for c in choices %}{{'ABCD'[loop.index0]}}: {{c}}\\n{% endfor %}Answer:"
doc_to_choice: ["A", "B", "C", "D"]
doc_to_target: answer
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""


def test_the_harness_agrees_and_leaves_the_streams_alone(
    nano: tuple[Any, Any], shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import numpy as np
    import torch

    model, tokenizer = nano
    rows = [json.loads(line) for line in (shared_data / "eval/belebele/en.jsonl").open(encoding="utf-8")][:12]
    write_rows(tmp_path, "belebele", "en", rows)
    task = TASK.replace("FILE", str(tmp_path / "belebele" / "en.jsonl"))
    (tmp_path / "own.yaml").write_text(task, encoding="utf-8")
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    model.train()
    found = evaluate_lm_eval(Subject(model, Renderer(tokenizer, "chat")), ["own_belebele"], 1, None, tmp_path)
    assert model.training
    model.eval()
    assert before == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
    assert found["harness"] == "lm-eval 0.4.13" and found["shots"] == {"own_belebele": 1}
    assert found["shots_from"] == {"own_belebele": "test"}
    assert "caveat: own_belebele: its 1 examples come from 'test'" in capsys.readouterr().out
    ours = evaluate_benchmarks(
        Subject(model, Renderer(tokenizer, "chat")), ["belebele"], ("de", "en"), BenchmarkOptions(str(tmp_path), 1)
    )["results"]["belebele"]["target"]["letters-1shots"]
    assert found["results"]["own_belebele"]["acc,none"] == pytest.approx(ours["accuracy"])
    with pytest.raises(UserError, match="could not evaluate no_such_task"):
        evaluate_lm_eval(Subject(model, Renderer(tokenizer, "chat")), ["no_such_task"], include_path=tmp_path)


def test_without_the_harness_one_sentence(nano: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(UserError, match=r"lm-eval is not installed .*install clo\[lm_eval\]"):
        evaluate_lm_eval(Subject(nano[0], Renderer(nano[1], "chat")), ["x"])

"""Answers drawn at a temperature: the distribution, one sequence per prompt in any company, and greedy as it was."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import byte_level_tokenizer, tiny_model

from clo.data.prompt import Renderer
from clo.evaluation.answer_log import Answer, AnswerLog
from clo.evaluation.generate import generate
from clo.evaluation.sampling import Sampling, drawn
from clo.evaluation.subject import Subject

PROMPTS = [[5, 6, 7], [9, 8], [11, 12, 13, 14], [21], [7, 7, 7]]


def subject(sampling: Sampling | None) -> Subject:
    return Subject(tiny_model(), Renderer(byte_level_tokenizer(), "chat"), sampling=sampling)


def test_a_token_is_the_first_whose_cumulated_probability_is_above_the_number() -> None:
    logits = torch.tensor([[0.2, 0.5, 0.3]]).log()
    numbers = [0.0, 0.1999, 0.2001, 0.6999, 0.7001, 0.99999999]
    assert drawn(logits.expand(6, 3), 1.0, numbers) == [0, 0, 1, 1, 2, 2]
    assert drawn(logits.expand(5, 3), 0.01, numbers[1:]) == [1] * 5  # towards the likeliest
    impossible = torch.tensor([[-torch.inf, 0.0, -torch.inf]])
    assert drawn(impossible, 1.0, [0.0]) == [1] and drawn(impossible, 1.0, [0.999]) == [1]


def test_numbers_come_as_often_as_they_should() -> None:
    logits = torch.tensor([[0.1, 0.6, 0.3]]).log()
    rng = Sampling(2.0, 0).draws([1, 2])
    found = Counter(drawn(logits.expand(4000, 3), 2.0, [rng.random() for _ in range(4000)]))
    wanted = torch.tensor([0.1, 0.6, 0.3]).sqrt()
    for token, share in enumerate((wanted / wanted.sum()).tolist()):
        assert found[token] / 4000 == pytest.approx(share, abs=0.03)


def test_a_prompt_draws_the_same_in_any_company() -> None:
    warm = Sampling(1.5, 3)
    together = [answer.text for answer in generate(subject(warm), PROMPTS, 12)]
    alone = [generate(subject(warm), [prompt], 12)[0].text for prompt in PROMPTS]
    narrow = [answer.text for answer in generate(subject(warm), PROMPTS[::-1], 12, max_tokens=40)][::-1]
    assert together == alone == narrow and len({*together}) == len(PROMPTS)
    other = [answer.text for answer in generate(subject(replace(warm, seed=4)), PROMPTS, 12)]
    greedy = [answer.text for answer in generate(subject(None), PROMPTS, 12)]
    assert not {*together} & {*other} and not {*together} & {*greedy}


def test_a_model_that_generates_by_itself_draws_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clo.evaluation.decode.decodes", lambda _: False)
    before = torch.random.get_rng_state()
    first, again = (generate(subject(Sampling(1.5, 3)), PROMPTS, 12) for _ in range(2))
    assert first == again != generate(subject(Sampling(1.5, 4)), PROMPTS, 12)
    assert torch.equal(torch.random.get_rng_state(), before)  # nobody else's draws are touched


def test_an_answer_without_an_end_is_told(tmp_path: Path) -> None:
    log = AnswerLog(tmp_path / "log.jsonl", "key")
    short, long = (generate(subject(None), PROMPTS, most, log=log if most == 3 else None) for most in (3, 40))
    assert any(answer.cut for answer in short)
    for one, other in zip(short, long, strict=True):
        assert one.cut or one.text == other.text
    assert log.known() == dict(enumerate(short))
    (tmp_path / "old.jsonl").write_text('{"key": "key", "answers": {"0": ["said", true]}}\n')
    assert AnswerLog(tmp_path / "old.jsonl", "key").known() == {0: Answer("said", True)}

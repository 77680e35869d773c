"""What a study needs beside its steps: arithmetic on what is asked, and the sums of a grid."""

from __future__ import annotations

from pathlib import Path

import pytest
from called import done
from composed import run_of
from transformers import AutoModelForCausalLM

from clo.study.plan_sums import BENCHMARK_ROWS, DECODE_SHARE, LONGER, OPEN_PROMPTS, PREFILL_SHARE, beside


def cell(model: Path, *more: str) -> list[str]:
    return ["plan=true", "model=any", f"model.path={model}", "model.max_length=200", *more]


def test_answers_and_benchmarks_are_passes_over_their_tokens(tiny_folder: Path) -> None:
    """Twice the weights that a token meets, for every token that is written or read, at the assumed shares."""
    model = AutoModelForCausalLM.from_pretrained(tiny_folder)
    weights = model.num_parameters() - model.get_input_embeddings().weight.numel()
    assert not model.config.tie_word_embeddings
    words = cell(tiny_folder, "trainer.tflops=1", "evaluation=paper", "evaluation.max_new_tokens=10", "method=sft")
    written = 2 * (50 + OPEN_PROMPTS) * 10
    read = sum(rows * tokens for rows, tokens in BENCHMARK_ROWS.values()) * (1 + LONGER)
    seconds = 2 * weights * (written / DECODE_SHARE + read / PREFILL_SHARE) / 1e12
    hours = beside(run_of(*words), 50).hours
    assert hours is not None and 3600 * hours == pytest.approx(seconds)
    plain = beside(run_of(*cell(tiny_folder, "trainer.tflops=1", "evaluation.max_new_tokens=10")), 50)
    assert plain.hours is not None and 3600 * plain.hours == pytest.approx(2 * weights * 2 * 50 * 10 / 0.05 / 1e12)
    assert beside(run_of(*cell(tiny_folder)), 50).hours is None  # no peak is given


def test_a_judge_is_asked_three_times_an_answer_and_once_for_its_opponents(tiny_folder: Path) -> None:
    words = cell(tiny_folder, "evaluation=paper")
    assert beside(run_of(*words, "method=clo"), 9).judge_calls == 2 * 805 * 3
    assert beside(run_of(*words, "method=sft_dpo"), 9).judge_calls == 2 * 805 * 3
    assert beside(run_of(*words, "method=sft"), 9).judge_calls == 2 * 805
    assert beside(run_of(*cell(tiny_folder, "method=clo")), 9).judge_calls == 0


def test_the_plan_of_a_grid_ends_in_its_sums(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = cell(tiny_folder, "trainer.tflops=1", "evaluation=paper", "data_size=16")
    done("plan", "-m", *words[1:], "method=sft,clo", "lang=sw,ko")
    said = capsys.readouterr().out
    assert "Beside the disk above, device-hours and judge calls, at most" in said
    assert said.count("4,830") == 2 and said.count("1,610") == 2
    (line,) = [line for line in said.splitlines() if line.startswith("in sum: ")]
    assert line.startswith("in sum: 4 cells, steps and references ") and line.endswith(", 12,880 judge calls")
    assert "translations" not in line and " GiB" in line

"""Options of BELEBELE rows, our scorer against lm-eval's own HF backend: ``python -m speed.choice --data <dir>``.

Both get the same texts, the same random small Llama and one thread; tokenising counts on both sides. Log-probs are
compared first, then rounds are interleaved and their order turns round; a ratio is per round, its median and range are
printed. lm-eval takes its fastest of the batch sizes given, found in a warm-up round.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

TOLERANCE = 1e-3
"""Largest difference of a summed log-prob, in nats; float32 sums of some hundred tokens in another order."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Check equality, time and print."""
    options = _parser().parse_args(arguments)
    if os.environ.get("OMP_NUM_THREADS") != "1":  # read at the start of a process
        given = sys.argv[1:] if arguments is None else list(arguments)
        os.execve(sys.executable, [sys.executable, "-m", "speed.choice", *given], _environment())
    warnings.filterwarnings("ignore")
    _run(options)


def _environment() -> dict[str, str]:
    from speed.__main__ import ALLOCATOR

    return {**os.environ, **ALLOCATOR, "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m speed.choice", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with belebele/<lang>.jsonl")
    parser.add_argument("--lang", default="de")
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument(
        "--vocab", type=int, default=32_000, help="entries of the head, as in Llama 2; 0: the tokenizer's"
    )
    parser.add_argument("--max-tokens", type=int, default=4096)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 4, 16], help="of lm-eval; its fastest counts")
    parser.add_argument("--scoring", nargs="+", default=["letters", "answers"])
    parser.add_argument("--shots", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--rounds", type=int, default=5)
    return parser


def _model(layers: int, width: int, vocab: int) -> tuple[Any, Any]:
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from clo.nano import WEIGHTS

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(WEIGHTS)
    config = LlamaConfig(
        vocab_size=max(vocab, len(tokenizer)),
        hidden_size=width,
        intermediate_size=width * 8 // 3,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=8192,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config).eval(), tokenizer


def _run(options: argparse.Namespace) -> None:
    import torch
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    from clo.evaluation.benchmarks.choice import score_questions
    from clo.evaluation.benchmarks.encode import encode_plain, window_of
    from clo.evaluation.benchmarks.multiple_choice import questions_of
    from clo.evaluation.benchmarks.options import BenchmarkOptions, BenchmarkSide
    from clo.evaluation.benchmarks.rows import choice_rows
    from clo.evaluation.benchmarks.sources import records_of_file
    from clo.evaluation.benchmarks.tasks import TASKS

    torch.set_num_threads(1)
    model, tokenizer = _model(options.layers, options.width, options.vocab)
    rows = choice_rows(records_of_file(options.data / "belebele" / f"{options.lang}.jsonl"))[: options.rows]
    harness = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=1)
    print(
        f"belebele {options.lang}, {len(rows)} rows, {options.layers} x {options.width}, "
        f"vocabulary {model.config.vocab_size:,}, one thread"
    )
    side = BenchmarkSide(TASKS["belebele"], options.lang, rows)
    for scoring in options.scoring:
        for shots in options.shots:
            questions = questions_of(side, scoring, BenchmarkOptions(shots=shots))
            requests = [
                Instance("loglikelihood", {}, (q.context, text), n)
                for n, q in enumerate(questions)
                for text in q.continuations
            ]

            def ours(questions: Any = questions) -> list[float]:
                pairs = encode_plain(tokenizer, questions)
                window = window_of(model, tokenizer)
                found = score_questions(model, questions, pairs, window, options.max_tokens).log_probs
                return [value for row in found for value in row]

            def theirs(requests: Any = requests) -> list[float]:
                return [value for value, _ in harness.loglikelihood(requests, disable_tqdm=True)]

            harness.batch_size_per_gpu = _fastest(harness, theirs, options.batch_sizes)
            difference = max(abs(a - b) for a, b in zip(ours(), theirs(), strict=True))
            if difference > TOLERANCE:
                sys.exit(f"{scoring}, {shots} shots: log-probs differ by {difference:.2g}")
            print(f"{scoring}, {shots} shots: {_verdict(ours, theirs, options.rounds, len(rows))}; ", end="")
            print(f"lm-eval at batch size {harness.batch_size_per_gpu}, log-probs within {difference:.1e}", flush=True)


def _fastest(harness: Any, action: Callable[[], Any], sizes: Sequence[int]) -> int:
    found = {}
    for size in sizes:
        harness.batch_size_per_gpu = size
        found[size] = _seconds(action)
    return min(found, key=found.__getitem__)


def _seconds(action: Callable[[], Any]) -> float:
    began = time.process_time()
    action()
    return time.process_time() - began


def _verdict(ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int, rows: int) -> str:
    """Items per CPU second of both and the ratio round by round."""
    from speed.protocol import Ratio

    times: dict[str, list[float]] = {"ours": [], "lm-eval": []}
    for number in range(rounds):
        sides = [("ours", ours), ("lm-eval", theirs)]
        for name, action in sides if number % 2 == 0 else reversed(sides):
            times[name].append(_seconds(action))
    ratio = Ratio("ours", "lm-eval", [b / a for a, b in zip(times["ours"], times["lm-eval"], strict=True)])
    rates = [rows * rounds / sum(times[name]) for name in ("ours", "lm-eval")]
    return f"{rates[0]:.1f} against {rates[1]:.1f} items/s, {ratio.verdict()}"


if __name__ == "__main__":
    main()

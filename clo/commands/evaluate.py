"""Evaluate a finished run again, or compare two runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clo.errors import UserError

USAGE = """usage: python -m clo.commands.evaluate run=<folder> [against=<folder>] [key=value ...]

  run=<folder>      a finished run's folder: answers are generated and scored again from its model/
  against=<folder>  instead: win rate of run against another run of the same test rows, with ties and a 95 % interval
  max_tokens=<n>    tokens of a generation batch (default: the run's own)
  evaluation.<key>= other values than the run's, such as evaluation.benchmarks.names=[belebele,mmmlu]
                    evaluation.benchmarks.data=<folder>"""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or {"-h", "--help"} & set(arguments):
        print(USAGE)
        sys.exit(0 if arguments else 1)
    try:
        options = _options(arguments)
        if "against" in options:
            compare(Path(options["run"]), Path(options["against"]))
        else:
            changes = [f"{key}={value}" for key, value in options.items() if key.startswith("evaluation.")]
            changes += [f"evaluation.max_tokens={options['max_tokens']}"] if "max_tokens" in options else []
            evaluate_again(Path(options["run"]), changes)
    except UserError as error:
        sys.exit(f"error: {error}")


def _options(arguments: Sequence[str]) -> dict[str, str]:
    options: dict[str, str] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or (key not in ("run", "against", "max_tokens") and not key.startswith("evaluation.")):
            raise UserError(
                f"unknown argument {argument!r}; known are run=, against=, max_tokens= and evaluation.<key>="
            )
        options[key] = value
    if "run" not in options:
        raise UserError("run=<folder> is missing; give a folder under outputs/")
    if not options.get("max_tokens", "1").isdigit():
        raise UserError(f"max_tokens={options['max_tokens']} is not a number of tokens")
    return options


def compare(run: Path, against: Path) -> None:
    """Print the win rate of one run over another, in the target language and in English.

    Raises:
        UserError: a run without samples, or two runs without a common prompt.
    """
    from rich.console import Console
    from rich.table import Table

    from clo.evaluation.win_rate import compare_runs

    table = Table(title=f"{run.name} against {against.name}", title_justify="left")
    for name in ("prompts in", "wins", "ties", "losses", "win rate", "95 % interval", "of the decided"):
        table.add_column(name, justify="right")
    for side, r in compare_runs(run, against).items():
        decided = "–" if r["decided_win_rate"] is None else f"{r['decided_win_rate']:.3f}"
        low, high = r["interval"]
        counts = [str(r[name]) for name in ("wins", "ties", "losses")]
        table.add_row(
            "English" if side == "en" else "target",
            *counts,
            f"{r['win_rate']:.3f}",
            f"{low:.3f} to {high:.3f}",
            decided,
        )
    Console().print(table)


def evaluate_again(path: Path, changes: Sequence[str] = ()) -> None:
    """Generate and score the answers of a finished run again, replacing its samples.jsonl and scores.

    Args:
        path: the run's folder.
        changes: ``evaluation.<key>=<value>`` in place of the run's own.

    Raises:
        UserError: not a finished run, or a change that does not exist.
    """
    from dataclasses import replace

    from clo.data.prompt import Renderer
    from clo.data.splits import load_splits
    from clo.model.load import load_model, load_tokenizer, mixed, run_device
    from clo.square.reference import weights_key
    from clo.study.grid import print_table
    from clo.study.outcome import evaluate_model, write_results
    from clo.study.run_benchmarks import benchmark_marks, start_marks, with_start
    from clo.training.loggers import quiet_libraries
    from clo.translate.ensure import rows_path

    folder, run = finished_run(path, changes)
    folder.acquire((path / "config.yaml").read_text(encoding="utf-8"))
    quiet_libraries()
    model = load_trained(run, path / "model")
    trained = replace(run.model, path=str(path / "model"), revision=None)
    renderer = Renderer(load_tokenizer(trained), run.model.template, run.model.end_of_turn)
    rows = rows_path(run) if run.data.kind == "translated" else None
    splits = load_splits(run.data, run.lang.source, run.lang.code, rows)
    results = folder.results()
    device = run_device(run.trainer.accelerator)
    with mixed(run.trainer.precision, device):
        test = splits.evaluated(run.evaluation)
        scores, samples = evaluate_model(run, model.to(device), renderer, test, folder, "evaluate")
        marks = benchmark_marks(run, model, renderer, folder, path / "benchmarks", run.slug())
        if marks:
            start = load_model(run.model).to(device)
            key = weights_key(start, run.trainer.precision)
            marks = with_start(marks, start_marks(run, start, renderer, folder, key))
    kept = {key: results[key] for key in ("start", "square", "train", "benchmarks", "judged") if key in results}
    made = {"benchmarks": marks} if marks else {}
    write_results(run, folder, {**kept, "scores": scores, **made}, samples)
    folder.status(now=True, state="done", stage="done", error=None)
    print_table([path])


def finished_run(path: Path, changes: Sequence[str] = ()) -> tuple[Any, Any]:
    """The folder and the configuration of a finished run, with ``changes`` (``key=value``) laid over it.

    Raises:
        UserError: it is not one, or a key does not exist.
    """
    from omegaconf import OmegaConf

    from clo.config.parse import parse
    from clo.storage.run_folder import RunFolder

    folder = RunFolder(path)
    if folder.state() != "done" or not (path / "config.yaml").is_file():
        raise UserError(f"{path} is not the folder of a finished run; its command finishes it")
    config = OmegaConf.create((path / "config.yaml").read_text(encoding="utf-8"))
    return folder, parse(OmegaConf.merge(config, OmegaConf.from_dotlist(list(changes))))  # type: ignore[arg-type]


def load_trained(run: Any, path: Path) -> Any:
    """The trained model: merged weights, or the adapter on its base."""
    from dataclasses import replace

    from clo.model.load import load_model, prepare_processor, run_device

    prepare_processor(run.trainer.threads, run.trainer.precision, run_device(run.trainer.accelerator))
    if not path.is_dir():
        raise UserError(f"{path} is missing; the run's command makes it again after status.json is deleted")
    if (path / "adapter_config.json").is_file():
        from peft import PeftModel

        return PeftModel.from_pretrained(load_model(run.model), path).eval()
    return load_model(replace(run.model, path=str(path), revision=None))


if __name__ == "__main__":
    main()

"""``clo plan``: what runs would need, with nothing trained."""

from __future__ import annotations

from collections.abc import Sequence

from clo.commands.command import Command


def plan(words: Sequence[str]) -> bool:
    """Print the needs of the runs that ``clo train`` would start; whether all of them fit their device."""
    from clo.commands.train import train

    return train([*words, "plan=true"])


COMMAND = Command(
    name="plan",
    summary="tokens, steps, memory, time and disk of the runs that `clo train` would start; trains nothing",
    reads="the rows and the model's configuration; weights are not loaded",
    writes="a table on the terminal; exit code 1 where a run would not fit, with what would make it fit",
    example="plan model=llama3_8b trainer=gpu trainer.memory_gb=80 trainer.tflops=989",
    run=plan,
    keys="""\
  All keys of `clo train`, and:
  trainer.memory_gb=<GB>     memory of one device that is not here
  trainer.tflops=<TFLOP/s>   its peak in the run's precision""",
)

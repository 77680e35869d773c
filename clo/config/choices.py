"""The choices that configuration values are made of, each by its name."""

from __future__ import annotations

from enum import Enum, StrEnum


class Cells(Enum):
    """Which cells of the square carry an NLL term."""

    none = "none"
    source = "source"
    target = "target"
    diagonal = "diagonal"


class Prompts(Enum):
    """Which prompts carry a preference comparison "own language over the others"."""

    none = "none"
    source = "source"
    target = "target"
    both = "both"


class Loss(Enum):
    """What a comparison costs; every formula with its paper stands in ``clo/square/losses.py``."""

    sigmoid = "sigmoid"
    sigmoid_norm = "sigmoid_norm"
    ipo = "ipo"
    hinge = "hinge"
    robust = "robust"
    dpop = "dpop"
    apo_zero = "apo_zero"
    apo_down = "apo_down"
    kto_pair = "kto_pair"
    simpo = "simpo"
    orpo = "orpo"
    cpo = "cpo"


class Anchor(Enum):
    """What holds the source language beside the method's NLL."""

    none = "none"
    kl = "kl"
    replay = "replay"


class NllReduction(Enum):
    """Unit of the NLL term: per target token of the step, or per answer."""

    token_mean = "token_mean"
    token_sum = "token_sum"


class PairReduction(Enum):
    """Unit of the preference term: mean over comparisons, or their sum per item."""

    mean = "mean"
    sum = "sum"


class Trains(Enum):
    """Which module kinds train."""

    attention = "attention"
    mlp = "mlp"
    both = "both"
    full = "full"


AUTO = "auto"
"""``tuning.layers``: those that the gradient at the start weights is largest in."""
THIRDS = ("lower", "middle", "upper")
"""``tuning.layers``: a third of the depth."""


class ReferenceMode(Enum):
    """Where reference log-probs come from."""

    cached = "cached"
    adapters_off = "adapters_off"
    swapped = "swapped"


class Identify(Enum):
    """How the language of an answer is told: by py3langid, by its script alone, or not at all."""

    auto = "auto"
    script = "script"
    none = "none"


class Keep(Enum):
    """Which weights of the last stage a run keeps: the last ones, or those that a rule on held-out NLL prefers."""

    last = "last"
    best = "best"


class Schedule(Enum):
    """How the learning rate goes on after its warm-up: falls to 0 in a line, or stays."""

    linear = "linear"
    constant = "constant"


class Targets(Enum):
    """With several targets, what an item holds: the source with all that it has, or with one at a time."""

    together = "together"
    apart = "apart"


class LengthPolicy(Enum):
    """What happens to an item longer than the window."""

    drop = "drop"
    error = "error"


class PoorRows(Enum):
    """What happens to data with more than a few rows that are probably not meant: refused, or said and used."""

    stop = "stop"
    say = "say"


class Split(Enum):
    """Which held-out rows are evaluated at the end of a run."""

    dev = "dev"
    test = "test"


class Metric(StrEnum):
    """What an answer of a task is scored by; what a judge says of it is `clo judge`'s."""

    object = "object"
    number = "number"
    rouge = "rouge"
    chrf = "chrf"

"""The claims of the CLO paper that a study can test, each with its rule and what the paper says of it, as data.

The paper's numbers carry a mark: V read in a primary text, S second-hand (a summary, not checked against the paper);
"re-run" is CLO as a baseline in a later paper of the same lab (arXiv 2608.23149). What is doubtful stays out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from clo.report.formats import MINUS

MARGIN = 2.0
"""Points within which two scores count as equal."""
MEMORY_MARGIN = 10.0
"""Points of percent around the paper's saving of memory."""


@dataclass(frozen=True)
class Claim:
    """One sentence of the paper and the difference that tests it."""

    words: str
    test: str
    """How it is computed: a name of ``clo/report/claim_tests.py``."""
    paper: str
    """What the paper says of it, with its mark."""
    rival: str = ""
    """Objective that CLO is compared with, as rows name it."""
    side: str = "target"
    low: float = 0.0
    """Above it lies what is claimed,"""
    high: float = math.inf
    """and below this."""
    tiers: tuple[str, ...] = ()
    """Resource tiers of the languages that it speaks of; empty for all."""

    @property
    def claimed(self) -> str:
        """The difference that the claim asks for, in words."""
        if math.isinf(self.high):
            words = f"above {self.low:g}"
        elif math.isinf(self.low):
            words = f"below {self.high:g}"
        else:
            words = f"between {self.low:g} and {self.high:g}"
        return words.replace("-", MINUS)


RULE = (
    "Held: in every language the 95 % interval of the difference lies in what is claimed. Did not hold: in one it "
    "lies outside altogether (by chance up to 2.5 % a language). Undecided: anything else, and what rests on one "
    "seed or two (\u2020). Interval: from the lowest to the highest end of the bootstraps over prompts and relations "
    "and the t-interval over seeds, at the most items that both arms have; weights and steps equal where there are "
    "such. Target: the right object in the right language, or chrF where no object is known; English: right content, "
    "or chrF; points. Mark of what the paper says: V read in a primary text, S second-hand."
)

CLAIMS = (
    Claim(
        "CLO is better than SFT in the target language",
        "against",
        "MMMLU of Llama-3-8B: zh 39.4 to 42.0, ko 25.3 to 32.7, sw 27.6 to 33.4 [S]; re-run, win rates over SFT of the "
        "same model: zh 58.1, ko 53.4, sw 44.9 [V]",
        rival="SFT",
    ),
    Claim(
        "CLO is better than SFT+DPO in the target language",
        "against",
        "ahead in all 30 cells [S]; re-run: win rates below SFT+DPO's but for sw of two models in three [V]",
        rival="SFT+DPO",
    ),
    Claim(
        f"CLO keeps the start model's English (within {MARGIN:g} points)",
        "start",
        "no number is known",
        side="en",
        low=-MARGIN,
    ),
    Claim(
        f"CLO keeps as much English as SFT (within {MARGIN:g} points)",
        "against",
        "MMLU in English: 57.6 against 53.0 (Llama-3-8B), 60.5 against 55.7 (Qwen2.5-3B) [S]",
        rival="SFT",
        side="en",
        low=-MARGIN,
    ),
    Claim(
        "In low-resource languages CLO is better than SFT on twice the items",
        "doubled",
        "3,200 items against 6,400 [V]",
        rival="SFT",
        tiers=("low",),
    ),
    Claim(
        "SFT gains more from more data than CLO does, in medium and low-resource languages",
        "sensitivity",
        "SFT jumps between 3,200 and 6,400 items, CLO rises smoothly [S]",
        rival="SFT",
        tiers=("medium", "low"),
    ),
    Claim(
        "CLO is better than the target's NLL alone, in the target language",
        "against",
        "no number is known",
        rival="target NLL alone",
    ),
    Claim(
        "CLO is better with NLL on the target alone than on English too, in the target language",
        "against",
        "win rate 83.0 against 74.5 (sw) [S]",
        rival="CLO, NLL on English too",
    ),
    Claim(
        f"Attention alone is as good as all weights but in low-resource languages (within {MARGIN:g} points)",
        "tuning",
        "wins 50.7 against 49.1 (zh), 52.7 against 46.4 (ko) [S]",
        rival="CLO",
        low=-MARGIN,
        high=MARGIN,
        tiers=("high", "medium"),
    ),
    Claim(
        "All weights are better than attention alone in low-resource languages",
        "tuning",
        "wins of attention 29.7 against 69.6 (sw) [S]",
        rival="CLO",
        low=-math.inf,
        high=0.0,
        tiers=("low",),
    ),
    Claim(
        f"CLO takes 30 % less memory than SFT+DPO (within {MEMORY_MARGIN:g} points)",
        "memory",
        "about 30 % less than DPO [S]",
        rival="SFT+DPO",
        low=-30 - MEMORY_MARGIN,
        high=-30 + MEMORY_MARGIN,
    ),
)

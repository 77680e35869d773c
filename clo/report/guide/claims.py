"""Sentences of the Post-trainer's Guide (arXiv 2504.16677) that a study of mixtures can test, each with its rule.

The paper's numbers carry a mark, as in ``clo/report/claims.py``: V read in a primary text (its abstract), S second-hand
(machine summaries, not checked against the paper). What is doubtful stays out.
"""

from __future__ import annotations

import math

from clo.report.claims import MARGIN, Claim

FLAT = 400
"""Rows per language after which the paper's curves are flat."""
TIMES = 13.0
"""How many times the rows of other tasks maths needs to peak, in the paper."""
LOSS = 8.0
"""Percent that joint training costs maths at the paper's small size."""
HALF_EXPLAINED = 50.0
"""Percent of the variance above which one variable would explain the transfer."""
NEARLY = 95.0
"""Percent of the peak that is nearly all of it."""

GUIDE_RULE = (
    "Held: for every model and task named the 95 % interval lies in what is claimed. Did not hold: in one it lies "
    "outside altogether. Undecided: anything else, and what rests on one seed. Not tested: the study lacks the runs; "
    "which ones is said. Intervals resample seeds and prompts together; a difference of two mixtures at one amount "
    "has the widest of the bootstrap over prompts and the t-interval over seeds. Scores are points, 0 where an answer "
    "is in the wrong language. Rows are per language and task. Unless said, a task is trained alone, in the mixture "
    "with most scripts, amounts and languages, and scored in the languages that it trains beside English. The largest "
    "size is the one with most weights, small ones are all others. Scripts are compared in languages that neither "
    "mixture trains, where there are such. What is claimed was set before any number: about "
    f"the paper's number is half to twice of it, equal is within {MARGIN:g} points. The paper's tasks are summaries, "
    "instruction following and maths at 7 to 35 billion weights; here short facts stand for instruction following, "
    "and models are far smaller. Mark of what the paper says: V read in a primary text, S second-hand."
)

GUIDE_CLAIMS = (
    Claim(
        f"Maths needs about {TIMES:g} times the rows of the other tasks to reach 95 % of its peak, at small sizes",
        "peaks",
        "about 13 times more multilingual data than the other tasks [S]",
        low=TIMES / 2,
        high=2 * TIMES,
    ),
    Claim(
        f"The other tasks are flat after {FLAT} rows per language, at small sizes (within {MARGIN:g} points)",
        "flat_words",
        "instruction following and summaries flatten after 100 to 400 [S]",
        low=-MARGIN,
        high=MARGIN,
    ),
    Claim(
        f"Every task is flat after {FLAT} rows per language at the largest size (within {MARGIN:g} points)",
        "flat_large",
        "35B: flat after 200 to 400 on every task [S]",
        low=-MARGIN,
        high=MARGIN,
    ),
    Claim(
        f"The gap of unseen languages stays as rows are added (within {MARGIN:g} points)",
        "gap_stays",
        "about constant when data are added [S]",
        low=-MARGIN,
        high=MARGIN,
    ),
    Claim(
        "The gap of unseen languages is smaller at the largest size than at the smallest",
        "gap_shrinks",
        "shrinks with the size of the model [S]",
        low=-math.inf,
        high=0.0,
    ),
    Claim(
        "Scores in seen and unseen languages go together at small sizes (correlation)",
        "together",
        "0.67 to 0.88 in the small models [S]",
        low=0.5,
    ),
    Claim(
        "They go together less at the largest size than at the smallest (difference of correlations)",
        "less_together",
        "less at 35B [S]",
        low=-math.inf,
        high=0.0,
    ),
    Claim(
        f"At equal rows of it, training the other tasks too costs maths about {LOSS:g} % at the smallest size",
        "joint",
        "joint training at the small size costs maths about 8 % [S]",
        low=-2 * LOSS,
        high=-LOSS / 2,
    ),
    Claim(
        "In tasks of words, languages of other scripts need rows in other scripts than Latin",
        "script_words",
        "linguistic tasks need non-Latin data for non-Latin languages [S]",
    ),
    Claim(
        "Maths is better with rows in Latin script alone than in all scripts",
        "script_maths",
        "peak 37.4 against 36.6 [S]",
    ),
    Claim(
        f"No single variable explains the transfer (each explains less than {HALF_EXPLAINED:g} % of its variance)",
        "variables",
        "transfer cannot be explained by isolated variables [V]",
        low=-math.inf,
        high=HALF_EXPLAINED,
    ),
    Claim(
        f"English alone is nearly enough at the largest size (over {NEARLY:g} % of the peak, all other languages)",
        "english",
        "35B: English alone is near the multilingual result [S]",
        low=NEARLY,
    ),
)

"""Numbers, sides and files of numbers as the report writes them; what pages, figures and tables share."""

from __future__ import annotations

import math
import re

SIDES = {"target": "Target language", "en": "English"}
SHORT_SIDES = {"target": "target", "en": "English"}
DASH, MINUS, DAGGER = "\u2013", "\u2212", "\u2020"
FEWEST_SEEDS = 3
"""Behind an interval or an order of means that says something."""
TWO_SEEDS = "Interval of two seeds: it rests on a single difference (t = 12.7) and says next to nothing."


def signed(value: float | None, digits: int = 1) -> str:
    """With its sign, a minus being a minus and a rounded zero having none; a dash for None and what is not finite."""
    if value is None or not math.isfinite(value):
        return DASH
    text = f"{value:+.{digits}f}"
    return (text.lstrip("+-") if float(text) == 0 else text).replace("-", MINUS)


def decimal(value: float | None, digits: int = 1) -> str:
    """`signed` without a plus."""
    return signed(value, digits).lstrip("+")


def percent(share: float | None) -> str:
    """A share of 0 to 1 in percent; a dash for None."""
    return decimal(None if share is None else 100 * share)


def few_seeds(seeds: int) -> bool:
    """Whether seeds make an interval, but too few of them for it to say much."""
    return 1 < seeds < FEWEST_SEEDS


def counted_seeds(seeds: int) -> str:
    """Why too few seeds decide nothing: ``one seed``, ``2 seeds``."""
    return "one seed" if seeds == 1 else f"{seeds} seeds"


def daggered(text: str, seeds: int) -> str:
    """An interval over seeds, with a dagger where they are few."""
    return text + DAGGER if text and few_seeds(seeds) else text


def with_interval(gap: float, low: float, high: float, seeds: int, more: str = "") -> str:
    """A difference as ``+1.2 (−0.3 to +2.7)``, with a dagger where seeds are few; ``more`` follows in the brackets."""
    return f"{signed(gap)} ({daggered(f'{signed(low)} to {signed(high)}', seeds)}{more})"


def thousands(value: object) -> str:
    """A count with commas, a float with one decimal as well; empty for what is no number."""
    return f"{value:,.1f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else ""


def file_name(text: str) -> str:
    """Text as the name of a file: other signs than letters, digits and ``. = _ -`` become a hyphen."""
    return re.sub(r"[^\w.=-]+", "-", text).strip("-.") or "page"

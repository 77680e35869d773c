"""What comparisons reject: the translation, what the start model answers, the worse response of a quality pair."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from clo.config.choices import Prompts
from clo.errors import UserError, check

if TYPE_CHECKING:
    from clo.config.method import MethodConfig
    from clo.config.science import DataConfig

KINDS = ("translation", "own", "quality")
"""Values of ``method.rejected``, in the order in which a list of them is kept."""
IN_LANGUAGE = ("leave_out", "use")
"""What becomes of an own answer that is in its prompt's language already."""


def kinds_of(method: MethodConfig) -> tuple[str, ...]:
    """Kinds of responses that a method's comparisons reject, in the order of ``KINDS``; none where it has none."""
    if method.preference is Prompts.none:
        return ()
    if method.ranking is not None:
        return ("quality",)
    return tuple(kind for kind in KINDS if kind in _named(method.rejected))


def _named(rejected: Any) -> list[Any]:
    return [rejected] if isinstance(rejected, str) or not hasattr(rejected, "__iter__") else list(rejected)


def settle_rejected(method: MethodConfig) -> None:
    """Write ``method.rejected`` in one way, and check it and what goes with it, of a method that rests where it should.

    Raises:
        UserError: a kind that there is not, or twice; gains that rank nothing; own answers under no prompt.
    """
    method.rejected = _one_way(method.rejected)
    ok = method.own_prompts in (Prompts.target, Prompts.both)
    check(ok, "method.own_prompts", "target or both", method.own_prompts.name)
    check(method.own_in_language in IN_LANGUAGE, "method.own_in_language", "leave_out or use", method.own_in_language)
    ok = math.isfinite(method.own_temperature) and method.own_temperature >= 0
    check(ok, "method.own_temperature", "0 (greedy) or a temperature above it", method.own_temperature)
    check(0 <= method.own_seed < 2**32, "method.own_seed", "a whole number of at least 0", method.own_seed)
    if method.own_seed and not method.own_temperature:
        raise UserError("method.own_seed decides nothing at method.own_temperature=0, which takes the likeliest token")
    asked = "a count of at least 1, or null for evaluation.max_new_tokens"
    check(method.own_tokens is None or method.own_tokens >= 1, "method.own_tokens", asked, method.own_tokens)
    gains = method.ranking
    ranks = gains is None or (len(gains) == 4 and len({*gains}) > 1 and all(0 <= gain < math.inf for gain in gains))
    if not ranks:
        raise UserError(f"method.ranking is four gains of at least 0 that are not all equal, or null, got {gains}")
    if method.preference is Prompts.source and "own" in kinds_of(method) and method.own_prompts is Prompts.target:
        raise UserError(
            "method.rejected=own compares under the target's prompts, and method.preference=source names the source's "
            "alone; set method.preference=both or target, or method.own_prompts=both"
        )


def _one_way(rejected: Any) -> Any:
    """One kind as a word, several as a list in the order of ``KINDS``."""
    named = [str(one) for one in _named(rejected)]
    if not named or not {*named} <= {*KINDS} or len({*named}) < len(named):
        raise UserError(f"method.rejected is one of {', '.join(KINDS)}, or a list of some of them, got {rejected}")
    kept = [kind for kind in KINDS if kind in named]
    return kept[0] if len(kept) == 1 else kept


def check_pairs(method: MethodConfig, data: DataConfig) -> None:
    """Refuse a method that needs quality pairs with data that can have none.

    Raises:
        UserError: names what needs them, and where they come from.
    """
    if "quality" not in kinds_of(method):
        return
    what = "method.rejected=quality" if method.ranking is None else "method.ranking"
    if data.kind in ("cldr", "tasks"):
        raise UserError(
            f"{what} needs quality pairs, and data={data.name} has none; take data=files with a 'rejected' response "
            "beside each 'response', or data=table or data=oasst with data.source.pairs=true"
        )
    if data.kind == "translated" and data.source is not None and not data.source.pairs:
        raise UserError(f"{what} needs quality pairs of data={data.name}; set data.source.pairs=true")

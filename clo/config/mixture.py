"""``mixture=``: how many rows of which task in which language a run trains on (after the Post-trainer's Guide).

"assumed" marks a value that the paper (Shimabucoro et al., 2025, arXiv 2504.16677) does not give.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from clo.config.choices import Anchor
from clo.config.lang import LangConfig, Target
from clo.config.rejected import kinds_of
from clo.config.tasks import EMBEDDED, TaskConfig
from clo.errors import UserError, check, plain_name

if TYPE_CHECKING:
    from clo.config.parse import RunConfig

Table = dict[str, dict[str, int]]
"""Task -> code of a language, source first -> rows."""
ANY = ({"facts": {"sw": 100}},)


@dataclass
class MixtureConfig:
    """A table task x language x rows; every column is a prefix of its rows, so that larger ones hold smaller ones."""

    name: str = field(default="", metadata={"values": ("mine", "")})
    """Of the mixture in folders and reports; empty is none."""
    tasks: list[str] = field(default_factory=list, metadata={"values": (["facts"], ["maths", "summaries"])})
    """Tasks that are trained and asked: facts, maths, summaries, or others of ``task=``."""
    source: int = 0
    """Rows of the source language in each task."""
    others: int = 0
    """Rows of each seen target in each task."""
    seen: list[str] = field(default_factory=list, metadata={"values": (["sw"],)})
    """Targets that are trained; the run's other targets are asked at its ends only. Empty is all of them."""
    rows: Any = field(default=None, metadata={"values": ANY})
    """Exact counts, which overrule the ones above: ``{maths: {en: 400, sw: 100}}``."""
    total: int | None = None
    """With ``shares``: rows of the whole table."""
    shares: Any = field(default=None, metadata={"values": ANY})
    """Shares of ``total`` by task and language, of any sum: ``{maths: {en: 3, sw: 1}}``; they make the whole table."""

    def __post_init__(self) -> None:
        if not self.name:
            return
        for key in ("rows", "shares"):
            asked = "numbers by task and language, such as {maths: {en: 400, sw: 100}}, or null"
            check(isinstance(getattr(self, key) or {}, dict), f"mixture.{key}", asked, getattr(self, key))
        plain_name("mixture.name", self.name)
        if not self.tasks or len({*self.tasks}) < len(self.tasks):
            raise UserError(f"mixture.tasks names the tasks of the mixture, each once, got {self.tasks}")
        for key in ("source", "others"):
            check(getattr(self, key) >= 0, f"mixture.{key}", "a number of rows, at least 0", getattr(self, key))
        if (self.total is None) != (not self.shares):
            raise UserError(
                "mixture.total and mixture.shares belong together: the rows in all, and how they are shared"
            )
        check(self.total is None or self.total >= 1, "mixture.total", "a number of rows, at least 1", self.total)

    def asked_in(self, lang: LangConfig, tasks: Mapping[str, TaskConfig]) -> LangConfig:
        """The languages without those that are not trained and that no task is asked in, while two targets are left."""
        testers = [tasks.get(tasks[name].tested_by or name) if name in tasks else None for name in self.tasks]
        counts = [*(self.rows or {}).values(), *(self.shares or {}).values()]
        trained = {*(self.seen or lang.codes()), *(code for own in counts for code in own)}

        def kept(code: str) -> bool:
            return code in trained or any(task is None or task.has(code) for task in testers)

        left = [one for one in lang.targets() if kept(one.code)]
        if len(left) < 2:
            return lang
        first, *rest = left
        return replace(first, further=[Target(one.code, one.name, one.tier, one.identify) for one in rest])

    def table(self, codes: Sequence[str]) -> Table:
        """Rows by task and language, zeros included.

        Args:
            codes: of the run's languages, source first.

        Raises:
            UserError: a task or a language that the run does not have, a count that is none, or no row at all.
        """
        strange = [code for code in self.seen if code not in codes[1:]]
        if strange or len({*self.seen}) < len(self.seen):
            raise UserError(f"mixture.seen names targets of the run ({', '.join(codes[1:])}), each once: {self.seen}")
        seen = self.seen or codes[1:]
        plain = {code: self.source if code == codes[0] else self.others * (code in seen) for code in codes}
        table = {task: dict(plain) for task in self.tasks}
        if self.total is not None:
            shares = self.shares or {}
            self._check_keys("shares", shares, codes)
            table = _shared(self.total, {task: shares.get(task, {}) for task in self.tasks}, codes)
        self._check_keys("rows", self.rows or {}, codes)
        for task, own in (self.rows or {}).items():
            for code, count in own.items():
                ok = isinstance(count, int) and not isinstance(count, bool) and count >= 0
                check(ok, f"mixture.rows.{task}.{code}", "a number of rows, at least 0", count)
            table[task] |= own
        if not any(count for own in table.values() for count in own.values()):
            raise UserError(f"mixture={self.name} holds no row; set mixture.source and mixture.others, or mixture.rows")
        return table

    def _check_keys(self, name: str, found: Mapping[str, Any], codes: Sequence[str]) -> None:
        for task, own in found.items():
            if task not in self.tasks or not isinstance(own, dict) or not {*own} <= {*codes}:
                raise UserError(
                    f"mixture.{name} gives numbers by task ({', '.join(self.tasks)}) and language "
                    f"({', '.join(codes)}), such as {{{self.tasks[0]}: {{{codes[-1]}: 100}}}}; got {{{task}: {own}}}"
                )


def check_mixed(run: RunConfig) -> None:
    """Refuse what a mixture cannot have.

    Raises:
        UserError: one target alone, rows without tasks, or what is made for rows of one task.
    """
    name = run.mixture.name
    if not run.lang.further:
        raise UserError(
            f"mixture={name} asks in several targets; give them, such as lang=[{run.lang.code},de], and say by "
            "mixture.seen or mixture.rows which of them are trained"
        )
    if run.data.kind != "tasks":
        raise UserError(f"mixture={name} is of rows with tasks, and data={run.data.name} has none; set data=tasks")
    unknown = [task for task in run.mixture.tasks if task not in EMBEDDED and task not in run.tasks]
    if unknown:
        raise UserError(
            f"mixture.tasks names {unknown[0]}, which is none of the embedded ones ({', '.join(EMBEDDED)}); choose its "
            f"file of conf/task: task={unknown[0]}"
        )
    beside = {
        f"method.anchor={run.method.anchor.name}": run.method.anchor is not Anchor.none,
        "method.rejected": not {*kinds_of(run.method)} <= {"translation"},
        "method.ranking": run.method.ranking is not None,
    }
    if one := next((key for key, there in beside.items() if there), None):
        raise UserError(f"{one} goes with parallel rows of one task, not with mixture={name}; leave one of them out")


def _shared(total: int, shares: Mapping[str, Mapping[str, Any]], codes: Sequence[str]) -> Table:
    """Whole rows by their shares; those that rounding leaves go to the largest remainders, the first ones of equals.

    Raises:
        UserError: a share that is none.
    """
    cells = {(task, code): shares[task].get(code, 0) for task in shares for code in codes}
    for (task, code), share in cells.items():
        ok = isinstance(share, int | float) and not isinstance(share, bool) and 0 <= share < float("inf")
        check(ok, f"mixture.shares.{task}.{code}", "a share, at least 0", share)
    whole = sum(cells.values())
    if not whole:
        raise UserError("mixture.shares are all 0; give at least one language of one task a share")
    exact = {cell: total * share / whole for cell, share in cells.items()}
    counts = {cell: int(value) for cell, value in exact.items()}
    left = sorted(exact, key=lambda cell: counts[cell] - exact[cell])[: total - sum(counts.values())]
    return {task: {code: counts[task, code] + ((task, code) in left) for code in codes} for task in shares}

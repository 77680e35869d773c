"""Where a number of the report leads: to the page of the one run behind it, or to a list of all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from clo.report.collect import Run, Study, grouped
from clo.report.comparisons import Comparison

Group = tuple[str, str, int, list[Run]]
"""Label, language, items, and its runs by seed."""


class Behind:
    """Addresses of runs, and the lists that numbers of several runs lead to, in the order they were asked for."""

    def __init__(self, study: Study, links: Mapping[str | Comparison, str]) -> None:
        """``links`` are folder of a run -> address of its page, and those of pages of comparisons."""
        self._study, self._links = study, links
        self._lists: dict[tuple[str, ...], list[Run]] = {}

    @property
    def lists(self) -> list[tuple[str, list[Group]]]:
        """(Anchor, groups of runs) of every list that an address leads to."""
        groups = [grouped(runs, lambda run: (run.label, run.lang, run.size)) for runs in self._lists.values()]
        return [(_anchor(i), [(*key, own) for key, own in found.items()]) for i, found in enumerate(groups)]

    def runs(self, runs: Iterable[Run]) -> str:
        """The address of these runs; empty without any that has a page."""
        known = {run.folder.name: run for run in runs if run.folder.name in self._links}
        if len(known) < 2:
            return next((self._links[name] for name in known), "")
        key = tuple(sorted(known))
        self._lists.setdefault(key, list(known.values()))
        return f"#{_anchor(list(self._lists).index(key))}"

    def arms(self, lang: str, arms: Sequence[tuple[int | None, str]]) -> str:
        """The address of (items, label) groups of a language; items None, a start model's, takes every run of it."""
        cell = [run for run in self._study.runs if run.lang == lang]
        return self.runs(
            run for run in cell if any(size in (None, run.size) and _named(run, size, label) for size, label in arms)
        )

    def pair(self, one: Comparison) -> str:
        """The page of a comparison where it has one, else the runs of both."""
        return self._links.get(one) or self.arms(one.lang, [(one.size, one.label), (one.against_size, one.against)])


def _named(run: Run, size: int | None, label: str) -> bool:
    return size is None or run.label == label


def _anchor(number: int) -> str:
    return f"behind-{number + 1}"

"""The languages of a run: English, or another source, and one target or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from clo.config.choices import Identify
from clo.errors import UserError, check, plain_name


@dataclass
class Target:
    """A target beside the first one."""

    code: str = ""
    """ISO 639 code, as of the first target."""
    name: str = ""
    """English name of the language."""
    tier: str = "unknown"
    """Resource tier, or any word of yours."""
    identify: Identify = Identify.auto
    """How the language of answers in it is told."""


@dataclass
class LangConfig:
    """The target language, or the first of several in the order of their codes."""

    code: str = "sw"
    """ISO 639 code, lower case; the name of its file in conf/lang, where it has one."""
    name: str = "Swahili"
    """English name of the language."""
    tier: str = "low"
    """Resource tier of the paper (high, medium, low) or any word of yours."""
    source: str = "en"
    """Language that the model speaks well and that the data come from."""
    identify: Identify = Identify.auto
    """How the language of answers is told: py3langid, which must know both codes; ``script``; or ``none``."""

    further: list[Target] = field(
        default_factory=list, metadata={"values": ({"code": "xx", "name": "Any"},), "written": "lang=[…,…]"}
    )
    """The other targets of the same run; ``lang=[ko,sw]`` fills it from the files of conf/lang."""

    def codes(self) -> tuple[str, ...]:
        """Of the languages of a run, source first."""
        return self.source, self.code, *(one.code for one in self.further)

    def targets(self) -> list[LangConfig]:
        """Each target as if it were alone."""
        first = Target(self.code, self.name, self.tier, self.identify)
        return [LangConfig(t.code, t.name, t.tier, self.source, t.identify) for t in (first, *self.further)]

    def __post_init__(self) -> None:
        if self.further:
            self._in_order()
        self._check()

    def _in_order(self) -> None:
        """One run, whatever the order that its targets were named in."""
        first, *rest = sorted(self.targets(), key=lambda one: one.code)
        self.code, self.name, self.tier, self.identify = first.code, first.name, first.tier, first.identify
        self.further = [Target(one.code, one.name, one.tier, one.identify) for one in rest]
        twice = [one.code for one, other in zip((first, *rest), rest, strict=False) if one.code == other.code]
        if twice:
            raise UserError(f"lang names the target {twice[0]!r} twice; give every target once")

    def _check(self) -> None:
        if not (self.code and self.name):
            raise UserError("lang=any needs a code and a name, such as lang=any lang.code=ha lang.name=Hausa")
        check(
            self.code not in ("False", "True", "None"),
            "lang.code",
            'a language code; in YAML write one that reads as another word in quotes, such as code: "no"',
            self.code,
        )
        plain_name("lang.code", self.code)
        check(
            self.code != self.source,
            "lang.code",
            f"the target and must differ from lang.source={self.source}",
            self.code,
        )


def settled_size(size: Any, codes: Sequence[str]) -> int | dict[str, int]:
    """``data_size`` as one number where all targets have the same, else by the code of each.

    Args:
        size: a number, or a number for each target.
        codes: of the targets, in their order.

    Raises:
        UserError: it is something else, lacks a target, or names a language that is none.
    """
    asked = "a number of training items, at least 1, or one for each target, such as {ko: 1600, sw: 400}"
    if not isinstance(size, dict):
        check(_is_count(size), "data_size", asked, size)
        return int(size)
    for code in codes:
        check(code in size, "data_size", f"a number for each target, and lacks {code}", size)
    strange = [code for code in size if code not in codes]
    check(not strange, "data_size", f"a number for each target of the run ({', '.join(codes)})", size)
    check(all(map(_is_count, size.values())), "data_size", asked, size)
    return {code: size[code] for code in codes} if len({*size.values()}) > 1 else int(size[codes[0]])


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1

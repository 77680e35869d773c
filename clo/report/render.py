"""Pages from the templates in ``templates``: everything that is filled in is escaped."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from clo.report.benchmarks import FURTHER
from clo.report.formats import (
    DAGGER,
    DASH,
    MINUS,
    SHORT_SIDES,
    SIDES,
    TWO_SEEDS,
    daggered,
    decimal,
    percent,
    signed,
    thousands,
)  # fmt: skip
from clo.report.tex import tex_escape

if TYPE_CHECKING:
    from jinja2 import Environment


@cache
def environment() -> Environment:
    """The templates with the filters they use; a name that a template lacks is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    found = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found.filters |= {"percent": percent, "signed": signed, "decimal": decimal, "thousands": thousands}
    found.filters |= {"address": quote, "tex": tex_escape, "daggered": daggered}
    found.globals |= {"DASH": DASH, "MINUS": MINUS, "DAGGER": DAGGER, "TWO_SEEDS": TWO_SEEDS}
    found.globals |= {"SIDES": SIDES, "SHORT_SIDES": SHORT_SIDES, "FURTHER": FURTHER}
    return found


def render(template: str, **values: object) -> str:
    """The file ``template`` with the values filled in."""
    return environment().get_template(template).render(values)

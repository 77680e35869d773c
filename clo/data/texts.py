"""When a text is empty, and when two texts are the same."""

from __future__ import annotations

import re
import unicodedata

_UNSEEN = re.compile(
    "[\u0000-\u0008\u000e-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]+"
)
"""Characters that show nothing, beside white space."""


def visible(text: str) -> str:
    """A text without what shows nothing: invisible characters, and white space at its ends."""
    return _UNSEEN.sub("", text).strip()


def key(text: str) -> str:
    """What makes two texts the same: neither case, white space, nor forms of a character count."""
    return " ".join(unicodedata.normalize("NFKC", visible(text)).casefold().split())

"""Replies on disk: found by content, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clo.errors import UserError
from clo.judge.endpoint import JUDGE, LANGUAGE, QUALITY
from clo.server.cache import ReplyCache
from clo.server.endpoint import Endpoint, Sampling
from clo.server.reply import Reply

SETTINGS: dict[str, object] = {"model": "m", "prompts": "1", "temperature": 0, "max_tokens": 16}


def cache(folder: Path, **changes: object) -> ReplyCache:
    return ReplyCache(folder, {**SETTINGS, **changes}, "judge")


def test_a_reply_is_found_again_with_all_it_says(tmp_path: Path) -> None:
    replies = {"a": Reply("A", {"A": -0.1, "B": -2.0}), "b": Reply("half", cut=True), "c \ud83d": Reply("")}
    first = cache(tmp_path)
    for prompt, reply in replies.items():
        assert first.get(prompt) is None
        first.add(prompt, reply)
        assert first.get(prompt) == cache(tmp_path).get(prompt) == reply
    assert cache(tmp_path, model="n").get("a") is None and cache(tmp_path, temperature=0.3).get("a") is None


def test_replies_kept_by_earlier_versions_are_found(tmp_path: Path) -> None:
    """File name, key and line as they have been since the first judge."""
    key = "a5572dcdd2c37d6be1f06c60e80edc1e1e4e3fd689f916a251031c048da14917"
    line = {"key": key, "text": "A", "top": {"A": -0.1}}
    (tmp_path / "e8046bb216bb865fefb73633.jsonl").write_text("\n" + json.dumps(line) + "\n")
    place = Endpoint(JUDGE, "http://anywhere/v1", "m", "none", 5.0, 16)
    for sampling in (QUALITY, LANGUAGE):
        kept = ReplyCache(tmp_path, {"prompts": "1", **place.settings(sampling)}, "judge")
        assert kept.get("Which is better?") == Reply("A", {"A": -0.1}) and kept.broken == 0
    assert place.settings(Sampling(system="Be kind.")) == {"model": "m", "temperature": 0, "max_tokens": 16, "system": "Be kind."}  # fmt: skip  # noqa: E501


def test_torn_and_broken_lines_are_left_out(tmp_path: Path) -> None:
    whole = cache(tmp_path)
    for prompt in "ab":
        whole.add(prompt, Reply(prompt))
    lines = [line for line in whole.path.read_text().split("\n") if line]
    bad = ["[]", '{"key": "k", "text": 1, "top": null}', '{"key": "k", "text": "x", "top": {"A": "y"}}', lines[0][:-9]]
    whole.path.write_text("\n".join([lines[1], *bad]))  # ends torn, without a line feed
    again = cache(tmp_path)
    assert (again.get("a"), again.get("b"), again.broken) == (None, Reply("b"), 4)
    again.add("a", Reply("a"))
    assert cache(tmp_path).get("a") == Reply("a")


def test_places_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*file/.*; make room, or choose a writable place"):
        cache(tmp_path / "file").add("a", Reply("a"))
    cache(tmp_path).path.mkdir()
    with pytest.raises(UserError, match=r"cannot read .*\.jsonl \(Is a directory\); mend or move it"):
        cache(tmp_path)

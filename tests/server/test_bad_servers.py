"""Every bad server against each of its three users: one sentence that says who, where, what and how to mend."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from called import program
from judged_runs import PAIRS, runs
from servers import BAD, KEY, serving
from warm_runs import WarmRuns, tiny

import clo.server.answers
import clo.server.client

judge, translate, answer = program("judge"), program("translate"), program("answer")
ENGLISH = [
    {"instruction": f"Please tell me more about animal number {k}.", "output": f"The animal {k} is a cat."}
    for k in range(30)
]
USERS = ("judge", "translator", "answering server")
Use = Callable[..., str]
"""use(url, timeout=20.0) -> the last words of the command."""


@pytest.fixture(autouse=True)
def impatient(client: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clo.server.client, "TRIES", 2)
    monkeypatch.setattr(clo.server.client, "MOST_BYTES", 2**20)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, warm: WarmRuns, tiny_folder: Path) -> Path:
    place = tmp_path_factory.mktemp("answered")
    ended = warm.run(tiny(tiny_folder, place), place)
    assert ended.code == 0, ended.err
    (path,) = (place / "outputs" / "runs").iterdir()
    return path


@pytest.fixture(params=USERS)
def user(request: pytest.FixtureRequest, tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Use]:
    """(what it is called, its command)."""
    if request.param == "judge":
        runs(tmp_path, *PAIRS)
        more = [f"run={tmp_path}/run", f"against={tmp_path}/other", "model=m", f"cache_dir={tmp_path}/cache"]
        return "judge", lambda url, timeout=20.0: last_words(judge, [*more, f"base_url={url}", f"timeout={timeout}"])
    lines = "".join(json.dumps(line) + "\n" for line in ENGLISH)
    (tmp_path / "english.jsonl").write_text(lines)
    if request.param == "translator":
        more = ["data=table", f"data.source.path={tmp_path}/english.jsonl", "lang=sw", "data_size=8"]
        more += ["data.held_out=4", f"cache_dir={tmp_path}/cache", "data.translation.engine=chat"]
        more += ["data.translation.model=m"]

        def translator(url: str, timeout: float = 20.0) -> str:
            server = [f"data.translation.base_url='{url}'", f"data.translation.timeout={timeout}"]
            return last_words(translate, [*more, *server])

        return "translator", translator
    more = [f"run={run}", f"prompts={tmp_path}/english.jsonl", "lang=en", f"name={tmp_path.name}", "model=m"]

    def answering(url: str, timeout: float = 20.0) -> str:
        monkeypatch.setattr(clo.server.answers, "TIMEOUT", timeout)  # the command has no setting for it
        return last_words(answer, [*more, f"base_url={url}"])

    return "answering server", answering


def last_words(main: Callable[[list[str]], None], arguments: list[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return str(ended.value.code)


def one_sentence(said: str, what: str, url: str) -> None:
    assert said.startswith("error: the "), said
    assert url in said and [user for user in USERS if re.search(rf"the {user}\b", said)] == [what], said
    assert "\n" not in said and ". " not in said and "Traceback" not in said and KEY not in said
    for setting in re.findall(r"[\w.]*\b(?:base_url|model|timeout|parallel)=", said):
        assert setting.startswith("data.translation.") == (what == "translator"), said


@pytest.mark.parametrize("name", BAD)
def test_a_bad_server(name: str, user: tuple[str, Use], capfd: pytest.CaptureFixture[str]) -> None:
    (what, use), bad = user, BAD[name]
    with serving(bad.answer) as server:
        said = use(server.url, bad.timeout)
    one_sentence(said, what, server.url)
    assert re.search(bad.said, said), said
    texts = [json.dumps(request["messages"]) for request in server.requests]
    assert max(map(texts.count, texts)) > 1 or not bad.tried or "content" in name
    printed = "".join(capfd.readouterr())
    assert "Traceback" not in printed and KEY not in printed


def test_nobody_there(user: tuple[str, Use]) -> None:
    what, use = user
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    said = use(url)
    one_sentence(said, what, url)
    assert "cannot be reached (nothing listens there); start it, or see" in said


def test_a_host_that_does_not_exist(user: tuple[str, Use], monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    what, use = user
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    said = use("http://nowhere.invalid/v1")
    one_sentence(said, what, "http://nowhere.invalid/v1")
    assert "cannot be reached (no such host); see" in said and "and the network" in said


def test_a_server_that_speaks_no_tls(user: tuple[str, Use]) -> None:
    what, use = user
    with serving(lambda *_: "A") as server:
        url = server.url.replace("http://", "https://")
        said = use(url)
    one_sentence(said, what, url)
    assert "speaks no TLS; see" in said and "http:// instead" in said


@pytest.mark.parametrize("url", ["localhost:8000", "http://h:x/", "ftp://h/", "http://"])
def test_an_address_that_is_none(url: str, user: tuple[str, Use]) -> None:
    what, use = user
    said = use(url)
    one_sentence(said, what, "give one such as http://localhost:8000/v1")
    assert "is no http:// or https:// address" in said


def test_a_key_that_is_missing(user: tuple[str, Use], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    what, use = user
    said = use("https://somewhere.example/v1")
    one_sentence(said, what, "")
    assert f"the {what}'s key is missing; set OPENAI_API_KEY" in said


def test_proxies_that_are_none(user: tuple[str, Use], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "gopher://127.0.0.1:1")
    what, use = user
    said = use("http://127.0.0.1:1/v1")
    one_sentence(said, what, "http://127.0.0.1:1/v1")
    assert "proxies and certificates that the environment names" in said


def test_the_address_is_shown_without_secrets(user: tuple[str, Use]) -> None:
    what, use = user
    with serving(lambda *_: error_page()) as server:
        said = use(server.url.replace("//", f"//user:{KEY}@") + f"?key={KEY}")
    one_sentence(said, what, server.url)
    assert "user" not in said


def error_page() -> tuple[int, dict[str, str], bytes]:
    return 404, {"Content-Type": "text/html"}, f"<html>{KEY}".encode()

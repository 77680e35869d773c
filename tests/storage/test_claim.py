"""One process at a time in a place: dead ones hold nothing, other machines are told by their sign of life."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

import clo.storage.claim
from clo.errors import InUse, UserError
from clo.storage.claim import STALE, Claim, alone
from clo.storage.run_folder import RunFolder

FORK = multiprocessing.get_context("fork")


@pytest.fixture(params=["flock", "no flock"])
def lock(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lock file, on a file system with locks and on one without."""

    def refused(*_: Any) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    if request.param == "no flock":
        monkeypatch.setattr("fcntl.flock", refused)
    return tmp_path / "run" / ".lock"


def test_one_at_a_time(lock: Path) -> None:
    first, second = Claim(lock), Claim(lock)
    assert first.holder() is None and first.take()
    assert not second.take() and second.holder() == f"process {os.getpid()}"
    second.give_back()  # what it does not hold
    assert not second.take()
    first.give_back()
    assert first.holder() is None and second.take() and not first.take()
    assert sorted(path.name for path in lock.parent.iterdir()) == [".lock", ".lock.2"]
    second.give_back()
    assert [path.name for path in lock.parent.iterdir()] == [".lock"]


def test_a_dead_process_holds_nothing(lock: Path) -> None:
    def die() -> None:
        assert Claim(lock).take()
        os.kill(os.getpid(), signal.SIGKILL)

    dead = FORK.Process(target=die)
    dead.start()
    dead.join()
    assert dead.exitcode == -signal.SIGKILL
    assert Claim(lock).holder() is None and Claim(lock).take()


def test_a_process_id_that_was_given_out_again_holds_nothing(lock: Path) -> None:
    claim = Claim(lock)
    assert claim.take()
    (record,) = lock.parent.glob(".lock.*")
    content = json.loads(record.read_text())
    claim.give_back()
    record = record.with_suffix(".9")
    record.write_text(json.dumps(content))
    assert not Claim(lock).take()
    record.write_text(json.dumps({**content, "started": content["started"] - 1}))
    assert Claim(lock).take()


def elsewhere(lock: Path, age: float) -> Path:
    """What a process of another machine leaves."""
    lock.parent.mkdir(exist_ok=True)
    record = lock.with_name(f"{lock.name}.7")
    record.write_text(json.dumps({"machine": "other", "host": "far", "pid": os.getpid(), "started": 1}))
    os.utime(record, (time.time() - age, time.time() - age))
    return record


def test_another_machine_is_alive_as_long_as_it_says_so(lock: Path) -> None:
    record = elsewhere(lock, STALE - 30)
    claim = Claim(lock)
    assert not claim.take() and claim.holder() == f"process {os.getpid()} on far"
    elsewhere(lock, STALE + 30)
    assert claim.holder() is None and claim.take()
    assert not record.exists() and lock.with_name(".lock.8").exists()


def test_a_record_that_is_cut_counts_by_its_age(lock: Path) -> None:
    record = elsewhere(lock, STALE - 30)
    record.write_text("")
    assert not Claim(lock).take()
    os.utime(record, (0, 0))
    assert Claim(lock).take()


def test_it_gives_signs_of_life(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clo.storage.claim, "BEAT", 0.01)
    monkeypatch.setattr(clo.storage.claim, "_heart", [])
    claim = Claim(lock)
    assert claim.take()
    (record,) = lock.parent.glob(".lock.*")
    os.utime(record, (0, 0))
    deadline = time.monotonic() + 20
    while record.stat().st_mtime == 0:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_who_was_taken_for_dead_knows_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fcntl.flock", lambda *_: None)
    slept, other = RunFolder(tmp_path), Claim(tmp_path / ".lock")
    slept.acquire("x: 1\n")
    monkeypatch.setattr(clo.storage.claim, "_beating", set())  # asleep it gives no sign of life
    (record,) = tmp_path.glob(".lock.*")
    record.write_text(json.dumps({**json.loads(record.read_text()), "machine": "as seen from elsewhere"}))
    os.utime(record, (0, 0))
    assert other.take()
    with pytest.raises(InUse, match="was taken over by process"):
        slept.status(now=True, state="running")
    assert not (tmp_path / "status.json").exists()
    slept.release()
    assert other.holder() is not None  # what it gave back was no longer its own


def test_alone_waits_and_says_for_whom(lock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clo.storage.claim, "PAUSE", 0.01)
    first, told = Claim(lock), list[str]()
    assert first.take()

    def waits(holder: str) -> None:
        told.append(holder)
        first.give_back()

    with alone(lock, waits):
        assert not first.take()
    assert told == [f"process {os.getpid()}"] and first.take()
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"), alone(tmp_path / "file" / "x"):
        pass


def test_never_two_however_they_die(lock: Path) -> None:
    """Six processes come and go sixty times, and every fifth stay of one ends in its death."""
    inside, wrong, over = (lock.parent / name for name in ("inside", "wrong", "over"))
    until = time.monotonic() + 60

    def work(seed: int) -> None:
        rng = random.Random(seed)
        while not over.exists():
            claim = Claim(lock)
            if claim.take():
                inside.write_text(str(seed))
                time.sleep(rng.random() * 0.003)
                if inside.read_text() != str(seed):
                    wrong.write_text("two")
                if rng.random() < 0.2:
                    os.kill(os.getpid(), signal.SIGKILL)
                claim.give_back()
            time.sleep(rng.random() * 0.002)

    seed, living = 0, list[Any]()
    while Claim(lock)._highest()[0] < 60:
        assert time.monotonic() < until
        living = [one for one in living if one.is_alive()]
        while len(living) < 6:
            seed += 1
            living.append(FORK.Process(target=work, args=(seed,)))
            living[-1].start()
        time.sleep(0.01)
    over.write_text("")
    for one in living:
        one.join()
    assert not wrong.exists() and Claim(lock).take()


def test_who_is_late_with_what_it_has_seen_does_not_come_in(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One looks, another comes and goes, a third one works: the first finds its number free, and that it was used."""
    late, quick, third = Claim(lock), Claim(lock), Claim(lock)
    seen = late._highest()
    assert quick.take()
    quick.give_back()
    highest = Claim._highest
    monkeypatch.setattr(
        Claim, "_highest", lambda claim, old=[seen]: old.pop() if claim is late and old else highest(claim)
    )
    assert not late.take() and [path.name for path in lock.parent.iterdir()] == [".lock"]
    assert third.take() and not late.take()

"""Bad input by the hundred, group by group: each ends in one sentence with what and where; ``pytest -s`` counts.

Servers have a file of their own (``tests/server/test_bad_servers.py``), kills too (``test_kills.py``), and mutations of
real files (``tests/test_boundaries.py``).
"""

from __future__ import annotations

import dataclasses
import enum
import json
import resource
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hostile_files import DATA, MODELS, WORDS, good, text
from warm_runs import Ended, WarmRuns, tiny

from clo.config.parse import RunConfig

pytestmark = pytest.mark.slow


class Tally:
    """What was tried in a group, and what was not answered well."""

    def __init__(self, group: str) -> None:
        self.group, self.tried, self.bad = group, 0, list[str]()

    def see(self, name: str, ended: Ended, *said: str) -> None:
        """One line that begins with ``error:``, says what it must, and nothing else."""
        self.tried += 1
        lines = ended.err.splitlines()
        well = ended.code == 1 and len(lines) == 1 and lines[0].startswith(("error: ", "failed: "))
        if not well or not all(part in ended.err for part in said):
            self.bad.append(
                f"{name}: code {ended.code}, wanted {said}, got {' / '.join(lines[-3:])[:400] or ended.out[-200:]}"
            )

    def end(self) -> None:
        print(f"\n{self.group}: {self.tried} tried, {self.tried - len(self.bad)} answered well")
        assert not self.bad, "\n".join(self.bad)


def test_data_files(warm: WarmRuns, tiny_folder: Path, tmp_path: Path) -> None:
    tally = Tally("data files")
    for name, (make, said) in DATA.items():
        folder = tmp_path / "files"
        folder.mkdir()
        path = make(folder)
        words = tiny(tiny_folder, tmp_path, "data=files", f"data.train='{path}'", "data.held_out=5")
        tally.see(name, warm.run([*words, "plan=true"], tmp_path), said)
        shutil.rmtree(folder)
    rows = tmp_path / "rows.jsonl"
    rows.write_text(text(good()))
    own = tiny(tiny_folder, tmp_path, "data=files", f"data.train={rows}", "data.held_out=5", "plan=true")
    for key in ("dev", "test"):
        tally.see(
            f"a missing {key} file", warm.run([*own, f"data.{key}=no.jsonl"], tmp_path), f"data.{key}=no.jsonl does"
        )
        tally.see(
            f"train as {key}",
            warm.run([*own, f"data.{key}={rows}"], tmp_path),
            f"data.{key}: id",
            "is also in data.train",
        )
    assert not (tmp_path / "outputs").exists()
    tally.end()


def test_model_folders(warm: WarmRuns, tiny_folder: Path, tmp_path: Path) -> None:
    tally = Tally("model folders")
    for name, (spoil, said, more) in MODELS.items():
        model = shutil.copytree(tiny_folder, tmp_path / "model")
        spoil(model)
        tally.see(name, warm.run(tiny(model, tmp_path, *more), tmp_path), said)
        shutil.rmtree(model) if model.is_dir() else model.unlink(missing_ok=True)
    assert not list(tmp_path.rglob("*.tmp"))
    tally.end()


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for field in dataclasses.fields(node):
        value = getattr(node, field.name)
        if dataclasses.is_dataclass(value):
            yield from leaves(value, f"{path}{field.name}.")
        else:
            yield f"{path}{field.name}", value


NOT_BELOW_0 = ("lam", "lr", "beta", "epochs", "warmup", "weight_decay", "eps", "clip", "dropout", "timeout")


def test_configuration_values(warm: WarmRuns, tmp_path: Path) -> None:
    """Every number, choice and switch with a word in its place, every count below what it may be, and more."""
    tally = Tally("configuration values")
    for key, value in leaves(RunConfig()):
        wrong = ["wat"] if isinstance(value, bool | int | float | enum.Enum) else []
        if isinstance(value, int | float) and not isinstance(value, bool):
            wrong += ["-5"] if isinstance(value, int) or key.rpartition(".")[2] in NOT_BELOW_0 else []
        for word in wrong:
            tally.see(f"{key}={word}", warm.run([f"{key}={word}", "plan=true"], tmp_path), key.rpartition(".")[2])
    for words, said in WORDS:
        ended = warm.run(words, tmp_path)
        tally.see(" ".join(words), ended, said)
        left = {path.name for path in tmp_path.glob("outputs/*/*/*")}  # of a run that had begun to read its rows
        assert left <= {"config.yaml", "status.json", ".lock"}, words
    tally.end()


@pytest.fixture(scope="module")
def finished(warm: WarmRuns, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("finished")
    assert warm.run(tiny(tiny_folder, place), place).code == 0
    (run,) = place.glob("outputs/runs/*")
    (place / "p.jsonl").write_text('{"prompt": "x", "lang": "en"}\n')
    return run


def commands(run: Path, place: Path) -> dict[str, list[str]]:
    """Every command on a finished run."""
    other = ["model=m", "base_url=http://127.0.0.1:9/v1", f"cache_dir={place}/cache"]
    return {
        "evaluate": [f"run={run}"],
        "answer": [f"run={run}", f"prompts={run.parents[2] / 'p.jsonl'}"],
        "chat": [f"run={run}", "prompt=x"],
        "export": [f"run={run}", f"to={place}/served"],
        "judge": [f"run={run}", f"against={run.with_name('other')}", *other],
    }


def files(run: Path) -> dict[str, bytes]:
    return {str(p.relative_to(run)): p.read_bytes() for p in run.rglob("*") if p.is_file() and p.name != ".lock"}


SPOILT: tuple[tuple[str, str | None, tuple[str, ...]], ...] = (
    ("status.json", None, ("evaluate", "answer", "chat", "export")),
    ("status.json", '{"state": "running"}', ("evaluate", "answer", "chat", "export")),
    ("status.json", '{"state": "failed", "error": "x"}', ("evaluate", "answer", "chat", "export")),
    ("status.json", "[]", ("evaluate", "answer", "chat", "export")),
    ("status.json", "{cut", ("evaluate", "answer", "chat", "export")),
    ("results.json", None, ("evaluate", "answer", "chat", "export")),
    ("results.json", "{cut", ("evaluate",)),
    ("results.json", "[1]", ("evaluate",)),
    ("results.json", "{}", ("evaluate",)),
    ("config.yaml", None, ("evaluate", "answer", "chat", "export")),
    ("config.yaml", "a: [b", ("evaluate", "answer", "chat", "export")),
    ("config.yaml", "seed: many", ("evaluate", "answer", "chat", "export")),
    ("config.yaml", "x: !!python/object/apply:os.mkdir [made]", ("evaluate", "answer", "chat", "export")),
    ("samples.jsonl", None, ("judge",)),
    ("samples.jsonl", "{cut\n", ("judge",)),
    ("samples.jsonl", '{"id": 1}\n', ("judge",)),
    ("model/config.json", None, ("evaluate", "answer", "chat", "export")),
    ("model/model.safetensors", None, ("evaluate", "answer", "chat", "export")),
    ("model/model.safetensors", "cut", ("evaluate", "answer", "chat", "export")),
)


def test_run_folders_and_commands(finished: Path, warm: WarmRuns, tmp_path: Path) -> None:
    tally = Tally("run folders and commands")
    other = finished.with_name("other")
    shutil.copytree(finished, other)
    for name, content, asked in SPOILT:
        run = shutil.copytree(finished, tmp_path / "runs" / finished.name)
        (run / name).unlink() if content is None else (run / name).write_text(content)
        before = files(run)
        for command in asked:
            words = [w.replace(str(finished.with_name("other")), str(other)) for w in commands(run, tmp_path)[command]]
            words = [f"prompts={finished.parents[2] / 'p.jsonl'}" if w.startswith("prompts=") else w for w in words]
            words = [f"against={other}" if w.startswith("against=") else w for w in words]
            ended = warm.run(words, tmp_path, command=command)
            tally.see(f"{command} with {name} {content}", ended, str(run))
            after = {k: v for k, v in files(run).items() if not k.startswith(("answers-p", "cache"))}
            assert after == before and not (tmp_path / "made").exists() and not (tmp_path / "served").exists()
        shutil.rmtree(tmp_path / "runs")
    for command, words in commands(finished, tmp_path).items():
        for wrong, said in (
            (["run=/nowhere"], "/nowhere"),
            ([f"run={finished.parents[2] / 'p.jsonl'}"], "p.jsonl"),
            (["run="], "run= is empty"),
            (["nothing=1"], "unknown argument 'nothing'"),
            (["run"], "unknown argument 'run'"),
        ):
            tally.see(f"{command} {wrong}", warm.run([*words, *wrong], tmp_path, command=command), said)
    for command, wrong, said in (
        ("evaluate", ["max_tokens=0"], "max_tokens=0 is not a whole number"),
        ("evaluate", ["evaluation.nope=1"], "nope"),
        ("evaluate", ["evaluation.rows=many"], "rows"),
        ("evaluate", ["evaluation.watch=2"], "evaluation.watch=2 has no effect"),
        ("evaluate", ["evaluation.benchmarks.shots=2"], "has no effect"),
        ("evaluate", ["against=/nowhere"], "/nowhere"),
        ("answer", ["prompts=/nowhere.jsonl"], "does not exist"),
        ("answer", ["prompts=."], "is a folder"),
        ("answer", ["lang=ko"], "lang=ko is no language of the run"),
        ("answer", ["name=../x"], "name= is letters"),
        ("answer", ["name="], "name= is empty"),
        ("answer", ["base_url=http://127.0.0.1:9"], "a server needs both"),
        ("answer", ["max_new_tokens=0"], "max_new_tokens=0"),
        ("answer", ["start=yes"], "start=yes must be true or false"),
        ("chat", ["prompt="], "prompt= is empty"),
        ("chat", ["prompt=" + "x " * 3000], "is the window: shorten it"),
        ("export", ["to=."], "is not empty"),
        ("export", [f"to={finished / 'results.json'}"], "is no folder"),
        ("export", ["dtype=int3"], "dtype=int3 must be one of"),
        ("export", ["merge=1"], "merge=1 must be true or false"),
        ("judge", [f"against={finished}"], "are the same folder"),
        ("judge", ["against=/nowhere"], "/nowhere"),
        ("judge", ["sides=fr"], "sides=fr must be one of"),
        ("judge", ["answers=nope"], "does not exist"),
        ("judge", ["budget=0"], "budget=0"),
    ):
        run = shutil.copytree(finished, tmp_path / "runs" / finished.name)
        words = [*commands(run, tmp_path)[command], *(w.replace(str(finished) + "'", str(run)) for w in wrong)]
        words = [f"against={run}" if w == f"against={finished}" else w for w in words]
        words = [
            f"prompts={finished.parents[2] / 'p.jsonl'}" if w == f"prompts={run.parents[2] / 'p.jsonl'}" else w
            for w in words
        ]
        tally.see(f"{command} {wrong}"[:80], warm.run(words, tmp_path, command=command), said)
        shutil.rmtree(tmp_path / "runs")
    for words, said in (
        (["study=nope"], "no folder outputs/nope"),
        (["study="], "study= is empty"),
        (["study=../x"], "study="),
        (["study=runs", f"output_dir={finished.parents[1]}", "compare=nope"], "compare=nope is no method"),
        ([f"study={finished.name}", f"output_dir={finished.parent}"], "no finished run"),
    ):
        tally.see(f"report {words}", warm.run(words, tmp_path, command="report"), said)
    tally.end()


def limited(warm: WarmRuns, words: Sequence[str], place: Path, command: str, size: int) -> Ended:
    """A command whose files may not grow beyond ``size`` bytes: as on a disk that is full."""
    pid = warm.start(list(words), place, command=command)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, size))
    return warm.wait(place)


def test_disks_places_and_two_processes(finished: Path, warm: WarmRuns, tiny_folder: Path, tmp_path: Path) -> None:
    import fcntl

    tally = Tally("disk full, read-only, two processes")
    before = files(finished)
    tally.see(
        "full at a checkpoint",
        limited(warm, tiny(tiny_folder, tmp_path, "seed=1"), tmp_path, "train", 60_000),
        "cannot write",
    )
    tally.see(
        "full at the model",
        limited(warm, tiny(tiny_folder, tmp_path, "seed=2"), tmp_path, "train", 150_000),
        "cannot write",
    )
    for command in ("export", "evaluate"):
        ended = limited(warm, commands(finished, tmp_path)[command], tmp_path, command, 2_000)
        tally.see(f"full in {command}", ended, "cannot write")
    tally.see(
        "an export nowhere",
        warm.run([f"run={finished}", "to=/proc/x/y"], tmp_path, command="export"),
        "cannot write /proc",
    )
    for key in ("output_dir", "cache_dir"):
        tally.see(f"{key} in /proc", warm.run([*tiny(tiny_folder, tmp_path), f"{key}=/proc/x"], tmp_path), "/proc/x")
        (tmp_path / "file").write_text("")
        tally.see(f"{key} a file", warm.run([*tiny(tiny_folder, tmp_path), f"{key}=file/x"], tmp_path), "file/x")
    with (finished / ".lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        tally.see("two processes", warm.run([f"run={finished}"], tmp_path, command="evaluate"), "is in use by process")
    assert files(finished) == before and not list(tmp_path.rglob("*.tmp")) and not (tmp_path / "served").exists()
    tally.end()


def test_benchmarks(finished: Path, warm: WarmRuns, tmp_path: Path) -> None:
    tally = Tally("benchmarks")
    row = {"id": "1", "context": "c", "question": "cause", "choices": ["a", "b"], "answer": 1}
    for name, content, said in (
        ("no rows", "", "no rows"),
        ("no JSON", "{cut", "is not JSON"),
        ("no question", json.dumps({"id": "1"}), "xcopa"),
        ("an answer beyond the choices", json.dumps({**row, "answer": 7}), "answer"),
        ("an answer of text", json.dumps({**row, "answer": "x"}), "answer"),
        ("no choices", json.dumps({**row, "choices": []}), "choice"),
        ("too few for the examples", json.dumps(row), "shots"),
        ("nothing in either language", None, "has neither language"),
    ):
        folder = tmp_path / "q" / "xcopa"
        folder.mkdir(parents=True)
        if content is not None:
            (folder / "sw.jsonl").write_text(content + "\n")
        words = [f"run={finished}", "evaluation.benchmarks.names=[xcopa]", f"evaluation.benchmarks.data={tmp_path}/q"]
        words += ["evaluation.benchmarks.shots=5"] if "examples" in name else []
        tally.see(name, warm.run(words, tmp_path, command="evaluate"), said)
        shutil.rmtree(tmp_path / "q")
    hub = warm.run([f"run={finished}", "evaluation.benchmarks.names=[belebele]"], tmp_path, command="evaluate")
    tally.see("no hub", hub, "cannot be read from the hub")
    tally.end()

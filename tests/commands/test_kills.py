"""kill -9 at random moments of every command: the same command again ends as if it had been left alone."""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from judged_runs import fair
from servers import serving
from stand_ins import Swahili
from warm_runs import WarmRuns, tiny

pytestmark = pytest.mark.slow
KILLS = 20

# Stage -> (function, calls of it in a whole run of the command): a moment is one call of one of them.
TRAIN = {
    "start answers": ("clo.evaluation.decode:decode", 2),
    "first steps": ("clo.training.module:CLOModule.training_step", 8),
    "later steps": ("clo.training.module:CLOModule.training_step", 14),
    "checkpoint": ("clo.training.checkpoint:write_tensors", 6),
    "references": ("clo.square.reference:ReferenceCache._append", 1),
    "end answers": ("clo.evaluation.decode:decode", 4),
    "files": ("clo.storage.files:write_together", 8),
    "model folder": ("clo.study.outcome:model_card", 1),
    "results": ("clo.study.outcome:write_together", 1),
}
# The parent of a grid is killed when one of its cells comes there, or by itself.
CELLS = {name: TRAIN[name] for name in ("start answers", "first steps", "checkpoint", "end answers", "model folder")}
CELLS |= {"loading": ("clo.study.session:open_session", 1), "later steps": TRAIN["later steps"]}
GRID = {"start of a cell": ("clo.study.cell:Cell.start", 3), "end of a cell": ("clo.study.board:Board.finished", 3)}
GRID |= {"table": ("clo.study.grid:print_table", 1)}
EVALUATE = {
    "session": ("clo.study.session:open_session", 1),
    "answers": ("clo.evaluation.decode:decode", 10),
    "scores": ("clo.evaluation.evaluate:score_answers", 2),
    "results": ("clo.study.outcome:write_together", 1),
}
ANSWER = {
    "answers": ("clo.evaluation.decode:decode", 4),
    "lines": ("clo.study.answers:append_lines", 4),
}
EXPORT = {
    "model": ("clo.study.export:generation_settings", 1),
    "tokenizer": ("clo.study.export:with_template", 1),
    "rights": ("clo.storage.files:obey_umask", 3),
}
REPORT = {
    "tables": ("clo.report.make:write_text", 3),
    "pages": ("clo.report.make:write_pages", 1),
    "figures": ("clo.report.make:draw_all", 1),
}
JUDGE = {
    "replies": ("clo.server.cache:ReplyCache.add", 20),
    "results": ("clo.judge.compare:write_together", 1),
}


def moments(stages: dict[str, tuple[str, int]], seed: int) -> list[tuple[str, dict[str, Any]]]:
    """KILLS moments, every stage at least once."""
    rng = random.Random(seed)
    names = [*stages, *rng.choices(list(stages), k=max(0, KILLS - len(stages)))]
    return [(name, {"at": stages[name][0], "call": rng.randint(1, stages[name][1])}) for name in names]


def content(place: Path) -> dict[str, Any]:
    """Everything that must be equal: files byte by byte, less clocks and process ids."""
    found: dict[str, Any] = {}
    for path in sorted(place.rglob("*")):
        if not path.is_file() or path.name in (".lock", "status.json", "stdout", "stderr", "metrics.csv", "log.txt"):
            continue
        assert not path.name.endswith(".tmp") and ".partial." not in path.name, path
        name = str(path.relative_to(place))
        if path.name == "results.json":
            results = json.loads(path.read_text())
            results["train"].pop("seconds")
            found[name] = results
        elif path.name == "metrics.jsonl":
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            timed = ("seconds", "train/response_tokens_per_second", "train/mfu")
            found[name] = [{k: v for k, v in line.items() if k not in timed} for line in lines]
        elif "checkpoint" not in name:
            found[name] = path.read_bytes()
    return found


def killed(warm: WarmRuns, command: str, words: list[str], place: Path, moment: dict[str, Any], cwd: Path) -> bool:
    """Kill it there and run it again; whether the moment came at all."""
    ended = warm.run(words, cwd, kill=moment, command=command)
    assert ended.code in (-signal.SIGKILL, 0), ended.err
    again = warm.run(words, cwd, command=command)
    assert again.code == 0, again.err
    return ended.code != 0


def tell(command: str, counts: Counter[str], stages: dict[str, tuple[str, int]]) -> None:
    print(f"{command}: {sum(counts.values())} kills, " + ", ".join(f"{name} {counts[name]}" for name in stages))
    assert all(counts[name] for name in stages), counts


def test_train(warm: WarmRuns, tiny_folder: Path, tmp_path: Path) -> None:
    size = ["method=sft_dpo", "data_size=40", "batch_size=8", "trainer.checkpoints=4", "evaluation.max_tokens=50"]
    alone = tmp_path / "alone"
    alone.mkdir()
    assert warm.run(tiny(tiny_folder, alone, *size), alone).code == 0
    wanted, counts = content(alone / "outputs"), Counter[str]()
    for number, (stage, moment) in enumerate(moments(TRAIN, 1)):
        place = tmp_path / str(number)
        place.mkdir()
        counts[stage] += killed(warm, "train", tiny(tiny_folder, place, *size), place, moment, place)
        found = content(place / "outputs")
        text = {name: value for name, value in found.items() if name.endswith("config.yaml")}
        assert {k: v for k, v in found.items() if k not in text} == {k: v for k, v in wanted.items() if k not in text}
        shutil.rmtree(place)
    tell("train", counts, TRAIN)


def living(place: Path) -> list[int]:
    """Processes of cells that work still."""
    pids = [json.loads(path.read_text()).get("pid", 0) for path in place.glob("outputs/runs/*/status.json")]
    return [pid for pid in pids if Path(f"/proc/{pid}/cmdline").is_file() and Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_grid(warm: WarmRuns, tiny_folder: Path, tmp_path: Path) -> None:
    """Its parent is killed in the middle of its cells; the next start, at once or later, goes on."""
    size = ["method=sft_dpo", "data_size=40", "batch_size=8", "trainer.checkpoints=4", "evaluation.max_tokens=50"]
    grid = [*size, "seed=0,1,2", "jobs=2"]
    alone = tmp_path / "alone"
    alone.mkdir()
    assert warm.run(["-m", *tiny(tiny_folder, alone), *grid], alone).code == 0
    wanted, counts = content(alone / "outputs"), Counter[str]()
    for number, (stage, moment) in enumerate(moments(CELLS | GRID, 5)):
        place = tmp_path / str(number)
        place.mkdir()
        moment |= {"whom": "parent"} if stage in CELLS else {}
        ended = warm.run(["-m", *tiny(tiny_folder, place), *grid], place, kill=moment)
        assert ended.code in (-signal.SIGKILL, 0), ended.err
        counts[stage] += ended.code != 0
        if number % 2:  # every other time, see them end by themselves
            deadline = time.monotonic() + 15
            while living(place):
                assert time.monotonic() < deadline
                time.sleep(0.05)
        again = warm.run(["-m", *tiny(tiny_folder, place), *grid], place)
        assert again.code == 0, again.err
        found = content(place / "outputs")
        assert {k: v for k, v in found.items() if not k.endswith("config.yaml")} == {
            k: v for k, v in wanted.items() if not k.endswith("config.yaml")
        }
        shutil.rmtree(place)
    tell("grid", counts, CELLS | GRID)


@pytest.fixture(scope="module")
def run(warm: WarmRuns, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("done")
    assert warm.run(tiny(tiny_folder, place), place).code == 0
    (path,) = (place / "outputs" / "runs").iterdir()
    return path


@pytest.mark.parametrize(
    ("command", "stages", "more"),
    [
        ("evaluate", EVALUATE, ["evaluation.max_tokens=15"]),
        ("answer", ANSWER, ["max_new_tokens=6", "max_tokens=25"]),
        ("export", EXPORT, []),
        ("report", REPORT, []),
    ],
)
def test_commands_on_a_finished_run(
    command: str, stages: dict[str, tuple[str, int]], more: list[str], run: Path, warm: WarmRuns, tmp_path: Path
) -> None:
    prompts = tmp_path / "open.jsonl"
    lines = [{"id": str(k), "prompt": f"Tell me about animal {k}.", "lang": "en"} for k in range(100)]
    prompts.write_text("".join(json.dumps(line) + "\n" for line in lines))
    counts, wanted = Counter[str](), None
    for number, (stage, moment) in enumerate([("", None), *moments(stages, 2)]):
        place = tmp_path / f"{number}" / "runs" / run.name
        shutil.copytree(run, place)
        words = {
            "evaluate": [f"run={place}"],
            "answer": [f"run={place}", f"prompts={prompts}"],
            "export": [f"run={place}", f"to={tmp_path / str(number)}/served"],
            "report": ["study=runs", f"output_dir={tmp_path / str(number)}"],
        }[command]
        if moment is None:
            assert warm.run([*words, *more], tmp_path, command=command).code == 0
            wanted = content(tmp_path / str(number))
        else:
            counts[stage] += killed(warm, command, [*words, *more], place, moment, tmp_path)
            assert content(tmp_path / str(number)) == wanted
        shutil.rmtree(tmp_path / str(number))
    tell(command, counts, stages)


def test_judge(run: Path, warm: WarmRuns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts, wanted = Counter[str](), None
    with serving(fair) as server:
        for number, (stage, moment) in enumerate([("", None), *moments(JUDGE, 3)]):
            folder = tmp_path / str(number)
            for name in ("a", "b"):
                shutil.copytree(run, folder / name)
            text = (folder / "b" / "samples.jsonl").read_text().replace('"answer": "', '"answer": "good ')
            (folder / "b" / "samples.jsonl").write_text(text)
            words = [f"run={folder}/a", f"against={folder}/b", "model=m", f"base_url={server.url}"]
            words += [f"cache_dir={folder}/cache", "parallel=1"]
            if moment is None:
                assert warm.run(words, tmp_path, command="judge").code == 0
                wanted = judged(folder)
            else:
                counts[stage] += killed(warm, "judge", words, folder, moment, tmp_path)
                assert judged(folder) == wanted
            shutil.rmtree(folder)
    tell("judge", counts, JUDGE)


def judged(folder: Path) -> dict[str, Any]:
    """What a judgment leaves; how many replies were asked now and how many before depends on the kill."""
    found = {name: value for name, value in content(folder).items() if not name.startswith("cache")}
    for name, value in found.items():
        if name.endswith("judge-b.json"):
            found[name] = json.loads(value)
    for one in (found["a/judge-b.json"], found["a/results.json"]["judged"]["b"]):
        asked = one.pop("calls") + one.pop("cached")
        assert asked > 0
    return found


def test_translate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process: the stand-in translator ends the command, the next one goes on with what is kept."""
    from called import called

    lines = [{"instruction": f"Please tell me about animal {k}.", "output": f"Animal {k} is a cat."} for k in range(60)]
    (tmp_path / "english.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = ["data=table", f"data.source.path={tmp_path}/english.jsonl", "data.held_out=4", "lang=sw", "data_size=20"]
    monkeypatch.setattr("clo.translate.pipeline.CHUNK", 7)
    wanted, rng = None, random.Random(4)
    for number in range(KILLS + 1):
        left = [10**9 if number == 0 else rng.randint(1, 8)]

        class Ends(Swahili):
            def translate(self, sentences: Any, attempt: int, left: list[int] = left) -> list[str]:
                left[0] -= 1
                if left[0] == 0:
                    raise KeyboardInterrupt
                return super().translate(sentences, attempt)

        monkeypatch.setattr("clo.translate.engines.load_engine", lambda *_: Ends())
        cache = tmp_path / f"cache{number}"
        code = called("translate", *words, f"cache_dir={cache}")
        if number:
            assert code in (130, 0)
            left[0] = 10**9
            assert called("translate", *words, f"cache_dir={cache}") == 0
        rows = {path.name: path.read_bytes() for path in (cache / "translations").rglob("*.jsonl")}
        wanted = wanted or rows
        assert rows == wanted
        shutil.rmtree(cache)

"""What a run is made from, by content: local models, an adapter's base, what was downloaded of a hub model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from composed import run_of

from clo.data.items import Item
from clo.data.rows import Row
from clo.data.splits import Splits
from clo.storage.digest import digest_of
from clo.storage.run_folder import RunFolder
from clo.study.content import files_of, reach_of, record_content, rows_digest
from clo.study.layer_choice import NAME as LAYERS
from clo.study.rows import Items
from clo.study.scores import _asked


def model(folder: Path, **config: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    "name", ["tokenizer.json", "chat_template.jinja", "generation_config.json", "model.safetensors"]
)
def test_every_file_that_a_model_is_read_from_counts(tmp_path: Path, name: str) -> None:
    run = run_of("model=any", f"model.path={model(tmp_path / 'm', a=1)}")
    before = files_of(run)["model.path"]
    for record in ("README.md", "measured.json", "trainer_state.json", "training_args.bin"):
        (tmp_path / "m" / record).write_text("nothing is computed from it")
    assert files_of(run)["model.path"] == before
    (tmp_path / "m" / name).write_text("{}")
    assert files_of(run)["model.path"] != before


def rows(*ids: str, task: str = "", gold: str = "") -> list[Row]:
    texts = {"en": "Who?", "sw": "Nani?"}
    return [Row(id_, texts, texts, {"sw": gold} if gold else {}, task=task) for id_ in ids]


def item(row: str, task: str = "") -> Item:
    return Item(row, ((1,), (2,)), ((3, 0), (4, 0)), task=task)


def test_rows_count_up_to_the_last_that_an_item_was_made_of() -> None:
    """Those that are too long are passed over: the first ``data_size`` rows of a file may hold none that trains."""
    run = run_of("data=files", "data.train=x", "data_size=2")
    splits = Splits(rows("a", "b", "c", "d", "e"), rows("f", "g", "h"), rows("i"))
    reach = reach_of(splits, Items([item("b"), item("d")], [item("g")], 2))
    assert reach == {"train": {"": 4}, "dev": {"": 2}}
    before = rows_digest(run, splits, reach)
    for part, id_, counts in (("train", "d", True), ("train", "e", False), ("dev", "g", True), ("dev", "h", False)):
        other = [replace(row, responses={"en": "x"}) if row.id == id_ else row for row in getattr(splits, part)]
        after = rows_digest(run, replace(splits, **{part: other}), reach)
        assert (after != before) is counts and (after[part] != before[part]) is counts
    assert rows_digest(run, replace(splits, test=rows("i", gold="Asha")), reach)["test"] != before["test"]


def test_rows_of_a_mixture_count_by_task() -> None:
    run = run_of("data=files", "data.train=x", "data_size=2")
    splits = Splits([*rows("a", "b", task="maths"), *rows("c", "d", task="facts")], [], rows("i"))
    reach = reach_of(splits, Items([item("a", "maths"), item("c", "facts")], [], 0))
    assert reach == {"train": {"maths": 1, "facts": 1}}
    more = replace(splits, train=[*splits.train[:2], *rows("e", task="maths"), *splits.train[2:]])
    assert rows_digest(run, more, reach) == rows_digest(run, splits, reach)


def test_layers_are_not_kept_from_other_rows(tmp_path: Path) -> None:
    """``tuning.layers=auto`` of a run that ended before its first checkpoint."""
    run, folder = run_of("data=files", f"data.train={tmp_path}/x.jsonl", "data_size=1"), RunFolder(tmp_path / "run")
    folder.path.mkdir()
    for ids, begun, kept in (("ab", False, True), ("ab", False, True), ("cb", False, False), ("cb", True, True)):
        (folder.path / LAYERS).write_text("{}")
        if begun:  # what has trained goes on with its layers, also where rows of the file changed that it does not use
            (folder.path / "checkpoint").mkdir()
            (folder.path / "checkpoint" / "step1.safetensors").touch()
            (tmp_path / "x.jsonl").write_text("{}\n")
        record_content(run, folder, Splits(rows(*ids), [], rows("i")), Items([item(ids[0])], [], 0))
        assert (folder.path / LAYERS).is_file() is kept


def test_start_scores_are_kept_by_all_that_decides_them() -> None:
    """Another name to look for in the same answers is another score."""
    session: Any = SimpleNamespace(run=run_of(), renderer=SimpleNamespace(identity=lambda: "r"))
    kinds = [rows("a"), rows("a", gold="Asha"), rows("a", task="maths"), [replace(rows("a")[0], group="seen")]]
    assert len({digest_of(_asked(session, kind)) for kind in kinds}) == 4


def test_the_base_of_an_adapter_counts(tmp_path: Path) -> None:
    base, adapter = model(tmp_path / "base", a=1), tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base)}))
    run = run_of("model=any", f"model.path={adapter}")
    before = files_of(run)
    model(base, a=2)
    after = files_of(run)
    changed = [key for key in before if before[key] != after[key]]
    assert changed == ["model.path (base of the adapter)"] and len(before) == 2


def test_what_was_downloaded_of_a_hub_model_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: list[tuple[str, str | None]] = []

    def cached(repo: str, name: str, revision: str | None = None) -> str | None:
        asked.append((repo, revision))
        return str(tmp_path / "m" / name) if (tmp_path / "m").is_dir() else None

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", cached)
    run = run_of("model=any", "model.path=some/model", "model.revision=abc")
    assert "model.path" not in files_of(run)  # nothing is here yet
    model(tmp_path / "m", a=1)
    before = files_of(run)["model.path"]
    model(tmp_path / "m", a=2)
    assert files_of(run)["model.path"] != before and set(asked) == {("some/model", "abc")}

"""What a run is made from, by content: local models, an adapter's base, what was downloaded of a hub model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from composed import run_of

from clo.study.content import files_of


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

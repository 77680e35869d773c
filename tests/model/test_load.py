"""A model folder that is spoilt is told in one sentence, with nothing of the libraries' own reports before it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from clo.config import ModelConfig
from clo.errors import UserError
from clo.model.load import adapted, load_model, load_tokenizer, shape_only, stored_dtype
from clo.training.loggers import quiet_libraries


def config(path: Path | str) -> ModelConfig:
    return ModelConfig(path=str(path), max_length=64)


class Runs:
    """Unpickling it would make a file."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("unpickled",)


def pickled(weights: Any) -> Any:
    def spoil(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        torch.save(weights, folder / "pytorch_model.bin")

    return spoil


def with_value(value: float) -> Any:
    def spoil(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        tensors = load_file(folder / "model.safetensors")
        tensors["model.layers.1.mlp.up_proj.weight"][3, 5] = value
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    return spoil


def with_config(text: str) -> Any:
    return lambda folder: (folder / "config.json").write_text(text)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            pickled({"x": Runs()}),
            "its pickled weights hold more than tensors, and nothing of them was run;",
        ),
        (
            with_value(float("nan")),
            "weights hold NaN or infinity, first in model.layers.1.mlp.up_proj.weight;",
        ),
        (
            with_value(float("inf")),
            "weights hold NaN or infinity, first in model.layers.1.mlp.up_proj.weight;",
        ),
        (with_config("{"), "the folder must hold a Hugging Face causal language model with its tokenizer"),
        (with_config("[]"), "the folder must hold a Hugging Face causal language model with its tokenizer"),
        (with_config("{}"), "the folder must hold a Hugging Face causal language model with its tokenizer"),
        (with_config('{"model_type": "llama", "hidden_size": "many"}'), "the folder must hold a Hugging Face causal"),
    ],
)
def test_a_spoilt_folder(
    spoil: Any, said: str, tiny_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_folder, tmp_path / "model")
    spoil(tmp_path / "model")
    quiet_libraries()  # as every command does: no bars
    with pytest.raises(UserError) as caught:
        load_model(config(tmp_path / "model"))
    assert said in str(caught.value) and str(tmp_path / "model") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""
    assert not (tmp_path / "unpickled").exists()


def test_large_weights_are_no_infinity(tiny_folder: Path, tmp_path: Path) -> None:
    """A float16 sum would overflow where every weight is finite."""
    model = load_model(config(tiny_folder)).half()
    with torch.no_grad():
        model.model.embed_tokens.weight.fill_(60_000.0)
    model.save_pretrained(tmp_path)
    assert load_model(config(tmp_path)).dtype is torch.float16


def test_what_reads_the_configuration_alone_tells_too(tiny_folder: Path, tmp_path: Path) -> None:
    assert stored_dtype(config(tiny_folder)) == "float32"
    assert shape_only(config(tiny_folder)).device.type == "meta"
    shutil.copytree(tiny_folder, tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text("[" * 100_000)
    for read in (shape_only, stored_dtype):
        with pytest.raises(UserError, match="the folder must hold a Hugging Face causal language model"):
            read(config(tmp_path / "model"))


@pytest.mark.parametrize("path", ["/no/where", "./nowhere", "../nowhere", "~/nowhere", "a/b/c", ".."])
def test_a_path_that_is_no_folder(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").mkdir()
    monkeypatch.chdir(tmp_path / "x")
    for read in (load_model, load_tokenizer):
        with pytest.raises(UserError) as caught:
            read(config(path))
        if path == "..":
            assert "the folder must hold a Hugging Face causal language model" in str(caught.value)
        else:
            assert str(caught.value).startswith(f"cannot load model.path={path}: no such folder; set model.path to")


def test_a_file_is_no_folder(tiny_folder: Path) -> None:
    with pytest.raises(UserError, match=r"it is a file; set model\.path to the folder around it"):
        load_model(config(tiny_folder / "config.json"))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": "1.0"}', '{"model": {"type": "BPE", "vocab": 3}}'])
def test_a_spoilt_tokenizer(text: str, tiny_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_folder, tmp_path / "model")
    (tmp_path / "model" / "tokenizer.json").write_text(text)
    with pytest.raises(UserError, match="the folder must hold a Hugging Face causal language model with its tokenizer"):
        load_tokenizer(config(tmp_path / "model"))


def test_a_spoilt_adapter(tiny_folder: Path, tmp_path: Path) -> None:
    from tiny_runs import LORA

    from clo.model.tuning import apply_tuning

    apply_tuning(load_model(config(tiny_folder)), LORA, 0).save_pretrained(tmp_path)
    weights, settings = tmp_path / "adapter_model.safetensors", tmp_path / "adapter_config.json"
    whole, told = weights.read_bytes(), settings.read_text()
    assert json.loads(told)["base_model_name_or_path"] == str(tiny_folder)
    load_model(config(tmp_path))
    for path, content in ((weights, whole[:500]), (settings, b"{"), (settings, b"[]")):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"cannot load model\.path="):
            load_model(config(tmp_path))
        with pytest.raises(UserError, match=r"cannot load model\.path="):
            adapted(load_model(config(tiny_folder)), config(tmp_path))
        weights.write_bytes(whole)
        settings.write_text(told)


def test_weights_are_read_straight_onto_a_device(tiny_folder: Path) -> None:
    """The same weights as by way of the host, in a model without wrappers around its layers."""
    usual, direct = load_model(config(tiny_folder)), load_model(config(tiny_folder), torch.device("cpu"))
    assert not any(hasattr(module, "_hf_hook") for module in direct.modules()) and not direct.training
    for (name, a), (other, b) in zip(usual.state_dict().items(), direct.state_dict().items(), strict=True):
        assert name == other and a.dtype == b.dtype and torch.equal(a, b)

"""Every mistake ends in one sentence: what is wrong, where, and how to mend it. Nothing half-written is left behind."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import TEXTS, byte_level_tokenizer, tiny_model
from warm_runs import WarmRuns, tiny

METHODS = ("sft", "sft_en", "sft_target", "sft_dpo", "sft_dpo_pairs", "clo", "clo_en_nll", "crpo")
BEFORE = ("data.md", "content.json")
"""What a run writes of its data before it loads and tunes the model."""


def refused(warm: WarmRuns, arguments: list[str], place: Path, missing: str = "", also: tuple[str, ...] = ()) -> str:
    """The one sentence that a wrong command ends with; nothing but the reason is left behind (and ``also``)."""
    ended = warm.run(arguments, place, missing=missing)
    assert ended.code == 1, ended.err
    assert "Traceback" not in ended.err
    assert ended.err.startswith("error: ") and ended.err.count("\n") == 1, ended.err
    message = ended.err.removeprefix("error: ").strip()
    for run in place.glob("outputs/*/*"):
        assert {path.name for path in run.iterdir()} <= {"config.yaml", "status.json", ".lock", *BEFORE, *also}
        status = json.loads((run / "status.json").read_text())
        assert (status["state"], status["error"]) == ("failed", message)
    return message


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["lang=xx"],
            "Could not find 'lang/xx'; Available options in 'lang': any, ar, bn, de, es, fr",
        ),
        (["method=clx"], "Could not find 'method/clx'; Available options in 'method': " + ", ".join(sorted(METHODS))),
        (["study=nope"], "Could not find 'study/nope'"),
        (["lang=null"], "a group needs the name of an option, as in lang=sw"),
        (["tuning.lora.r=4"], "choose the option that fills it (tuning=attention_lora"),
        (["lang=sw,ko"], "To sweep over it, add --multirun"),
        (["lang=[sw"], "lang=[sw cannot be read; close every bracket and quote"),
        (["data=files", "data.train={a"], "data=files data.train={a cannot be read; close every bracket and quote"),
        (["data=files", "data.train=a]"], "data.train=a] cannot be read; close every bracket and quote"),
        (["lang"], "'lang' is not key=value, such as lang=sw"),
        (["=3"], "'=3' is not key=value, such as lang=sw"),
        (["output_dir="], "output_dir is a folder; . is this one, got ''"),
        (["cache_dir=' '"], "cache_dir is a folder; . is this one, got ' '"),
        (["study_name="], "study_name is letters, digits, - and _, got ''"),
        (["study=guide", "scale=nano"], "scale=nano is none of this study's; it has scale=paper or no scale"),
        (["data_size=many"], "data_size is a number of training items, at least 1, or one for each target, such as"),
        (["data_size=0"], "data_size is a number of training items, at least 1, or one for each target, such as"),
        (["+unknown.key=1"], "unknown key unknown; `python train.py --cfg job` lists the keys"),
        (["method.lam=2"], "method.lam is the weight of the NLL term and must be in [0, 1], got 2.0"),
        (["method.beta=0"], "method.beta is the strength of the comparisons and must be above 0, got 0.0"),
        (["data=files"], "data=files needs data.train=<file>"),
        (["--frobnicate"], "unrecognized arguments: --frobnicate; `python train.py --help` tells more"),
        (["method.lr=nan"], "method.lr is the learning rate and must be above 0, got nan"),
        (["optimizer.eps=-1"], "optimizer.eps is AdamW's epsilon and must be above 0, got -1.0"),
        (["seed=99999999999999999999"], "seed is a whole number of at least 0 and below 2**32, got 9999"),
        (["method.name=a/b"], "method.name is letters, digits, - and _, got a/b"),
        (["lang.code=../x"], "lang.code is letters, digits, - and _, got ../x"),
        (["lang=[ko,ko]"], "lang names the target 'ko' twice; give every target once"),
        (["seed=1", "-m", "lang=ko,sw"], "-m comes before every key=value, as in -m lang=ko,sw (arguments: seed=1 -m"),
        (["-m", "method.lam=0.5,2"], "method.lam is the weight of the NLL term and must be in [0, 1], got 2.0"),
        (["-m", "lang=sw,ko", "--cfg", "job"], "Only one of --run, --multirun, --cfg"),
        (["-m", "lang=sw,xx"], "Could not find 'lang/xx'"),
    ],
)
def test_wrong_arguments(warm: WarmRuns, arguments: list[str], said: str, tmp_path: Path) -> None:
    message = refused(warm, arguments, tmp_path)
    assert said in message
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["data_size=99999"], r"data_size=99999 is beyond the \d+ training rows of data=cldr for sw; lower data_size"),
        (["lang.code=xx"], "data=cldr has no wording for language 'xx'"),
        (["model.max_length=30"], r"no item fits model\.max_length=30; the first is '.*' \(\d+ tokens\); raise"),
        (["data.length_policy=error", "model.max_length=60"], r"is longer than model\.max_length=60; raise it or"),
        (["model.max_length=80", "data_size=6800"], r"rows fit model\.max_length=80, fewer than data_size=6800"),
        (["model.max_length=300"], r"model\.max_length=300 is over the window of .*; set it to at most 256"),
        (
            ["model.path=/nowhere"],
            r"cannot load model\.path=/nowhere: no such folder; set model\.path to a local",
        ),
        (['model.template="Q: {prompt}\\nA: "'], r"model\.template holds a backslash and an n where a line break"),
        (["model.template=hello"], r"model\.template needs \{prompt\} exactly once"),
        (["model.end_of_turn='<nope>'"], r"no end-of-turn token <nope>; set model\.end_of_turn"),
        (["tuning.layers=[5,6]"], r"tuning\.layers=\[5, 6\] is not a range within this model's layers 0 to 1"),
        (["trainer.accelerator=gpu"], "no GPU is visible; set trainer=cpu"),
    ],
)
def test_wrong_values(warm: WarmRuns, arguments: list[str], said: str, tiny_folder: Path, tmp_path: Path) -> None:
    if "trainer.accelerator=gpu" in arguments:
        import torch

        if torch.cuda.is_available():
            pytest.skip("there is a GPU")
    message = refused(warm, tiny(tiny_folder, tmp_path, *arguments), tmp_path)
    assert re.search(said, message), message


def test_a_learning_rate_that_breaks_the_weights(warm: WarmRuns, tiny_folder: Path, tmp_path: Path) -> None:
    """The one mistake that shows only in training: no result and no model come of it."""
    command = tiny(tiny_folder, tmp_path, "method.lr=1e30")
    message = refused(warm, command, tmp_path, also=("metrics.jsonl", "watched.jsonl", "checkpoint", "content.json"))
    assert message == "the loss of stage clo is nan at step 1; lower method.lr=1e+30 or check the data"


def test_a_model_folder_without_a_model(warm: WarmRuns, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    message = refused(warm, tiny(tmp_path / "empty", tmp_path), tmp_path)
    assert f"cannot load model.path={tmp_path}/empty" in message
    assert "the folder must hold a Hugging Face causal language model with its tokenizer" in message


def cut_short(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])


def without_a_tensor(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def another_shape(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 48}))


def fewer_embeddings(folder: Path) -> None:
    tiny_model(vocab=300).save_pretrained(folder)


def without_a_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            cut_short,
            ": Error while deserializing header: incomplete metadata, file not fully covered; the folder",
        ),
        (without_a_tensor, "its weights lack model.layers.1.mlp.up_proj.weight or hold it in another shape (1 in all)"),
        (another_shape, "its weights lack model.layers.0.mlp.down_proj.weight or hold it in another shape (6 in all)"),
        (
            fewer_embeddings,
            "the model has 300 embeddings; set model.path to a folder whose tokenizer belongs to it",
        ),
        (without_a_tokenizer, "the folder must hold a Hugging Face causal language model with its tokenizer"),
    ],
)
def test_a_spoilt_model_folder(warm: WarmRuns, spoil: Any, said: str, tiny_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_folder, tmp_path / "model")
    spoil(tmp_path / "model")
    assert said in refused(warm, tiny(tmp_path / "model", tmp_path), tmp_path)


def test_a_model_without_such_matrices(warm: WarmRuns, tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    heads = {"hidden_size": 32, "word_embed_proj_dim": 32, "ffn_dim": 32, "num_attention_heads": 4}
    config = AutoConfig.for_model("opt", vocab_size=400, num_hidden_layers=1, **heads)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "opt")
    byte_level_tokenizer().save_pretrained(tmp_path / "opt")
    message = refused(warm, tiny(tmp_path / "opt", tmp_path, "tuning.trains=mlp"), tmp_path)
    assert "tuning.trains=mlp matches no weights of this model, which has" in message


def test_places_that_cannot_be_written(warm: WarmRuns, tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    command = tiny(tiny_folder, tmp_path)
    for override, said in (
        ("output_dir=file/x", "cannot write the run folder file/x/runs/nano-clo-sw-16-s0-"),
        ("cache_dir=file/x", "cannot write cache_dir=file/x (Not a directory); set a writable place"),
    ):
        assert said in refused(warm, [*command, override], tmp_path)
    shutil.rmtree(tmp_path / "outputs")
    for override, said in (
        ("output_dir=file/x", "cannot write the run folder file/x/runs/nano-clo-sw-16-s0-"),
        ("cache_dir=file/x", "cannot write cache_dir=file/x; set a writable place"),
    ):
        assert said in refused(warm, ["-m", *command, "seed=0,1", override], tmp_path)
    assert (tmp_path / "file").read_text() == "" and not (tmp_path / "outputs").exists()


def test_a_run_folder_in_use(warm: WarmRuns, tiny_folder: Path, tmp_path: Path) -> None:
    import fcntl

    command = tiny(tiny_folder, tmp_path, "data_size=99999")
    refused(warm, command, tmp_path)
    (run,) = tmp_path.glob("outputs/runs/*")
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    with (run / ".lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ended = warm.run(command, tmp_path)
    assert ended.code == 1
    assert ended.err.startswith(f"error: the run folder {run} is in use by process ")
    assert ended.err.endswith("; wait or stop it\n")
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_wandb_that_is_not_installed(warm: WarmRuns, tiny_folder: Path, tmp_path: Path) -> None:
    message = refused(warm, tiny(tiny_folder, tmp_path, "logger=wandb"), tmp_path, missing="wandb")
    assert message == "logger=wandb needs wandb; `pip install wandb` or use logger=csv"


LINES = [
    {"id": f"{lap}.{k}", "lang": lang, "prompt": prompt, "response": response}
    for lap in range(5)
    for k, (a, b, c, d) in enumerate(TEXTS)
    for lang, prompt, response in (("en", f"{a} {lap}", b), ("sw", f"{c} {lap}", d))
]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: [*lines[:3], '{"id": 3,'], "rows.jsonl, line 4 is not JSON"),
        (lambda lines: [*lines, lines[0]], "rows.jsonl, line 61: id '0.0' has 'en' twice"),
        (lambda lines: [line.replace('"id"', '"ID"') for line in lines], "line 1: the field 'id' is missing"),
        (lambda lines: lines[:-1], "rows.jsonl: id '4.5' has no 'sw' text (it has en); add the translation"),
        (lambda lines: [*lines[:-1], lines[-1].replace(TEXTS[-1][3], "")], "line 60: the field 'response' is empty"),
        (lambda lines: lines[:8], "the training file has 4 rows, too few to hold 5 out; lower data.held_out"),
    ],
)
def test_wrong_rows(warm: WarmRuns, change: Any, said: str, tiny_folder: Path, tmp_path: Path) -> None:
    lines = change([json.dumps(record) for record in LINES])
    (tmp_path / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    files = ["data=files", "data.train=rows.jsonl", "data.held_out=5"]
    assert said in refused(warm, tiny(tiny_folder, tmp_path, *files), tmp_path)


def test_rows_that_are_not_utf8(warm: WarmRuns, tiny_folder: Path, tmp_path: Path) -> None:
    text = "\n".join(json.dumps(record, ensure_ascii=False) for record in [*LINES, {**LINES[0], "id": "Ìlú"}])
    (tmp_path / "rows.jsonl").write_bytes(text.encode("cp1252", "replace"))
    message = refused(warm, tiny(tiny_folder, tmp_path, "data=files", "data.train=rows.jsonl"), tmp_path)
    assert "rows.jsonl, line 61 is not UTF-8 (byte 8); convert the file to UTF-8" in message


def test_good_rows_of_ones_own_make_a_run(warm: WarmRuns, tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "rows_sw.jsonl").write_text("\n".join(json.dumps(record) for record in LINES), encoding="utf-8")
    files = ["data=files", "data.train=rows_${lang.code}.jsonl", "data.held_out=5"]
    ended = warm.run(tiny(tiny_folder, tmp_path, *files, "method=sft_target"), tmp_path)
    assert ended.code == 0, ended.err
    (results,) = tmp_path.glob("outputs/runs/*/results.json")
    found = json.loads(results.read_text())
    assert found["data"] == "files" and found["scores"]["target"]["all"]["n"] == 5


def test_a_checkpoint_of_another_base(warm: WarmRuns, tiny_folder: Path, tmp_path: Path) -> None:
    """Whether the stage was broken off or finished: other weights under the same path are not trained on."""
    for at in (
        {"at": "clo.training.module:CLOModule.training_step", "call": 6},
        {"at": "clo.study.outcome:model_card", "call": 1},
    ):
        model = tmp_path / "model"
        shutil.copytree(tiny_folder, model)
        command = tiny(model, tmp_path, "trainer.checkpoints=4")
        assert warm.run(command, tmp_path, kill=at).code < 0
        tiny_model(seed=1).save_pretrained(model)
        ended = warm.run(command, tmp_path)
        assert ended.code == 1 and "Traceback" not in ended.err
        assert "model.path changed after" in ended.err
        assert ended.err.endswith("or delete the folder to start anew\n")
        (content,) = tmp_path.glob("outputs/runs/*/content.json")
        content.unlink()  # a folder of version 0.1 has none: its checkpoints still know their base
        ended = warm.run(command, tmp_path)
        assert ended.code == 1 and "was trained from another base" in ended.err
        assert ended.err.endswith("; delete the run folder to start anew\n")
        for name in ("outputs", "model", "cache"):
            shutil.rmtree(tmp_path / name)

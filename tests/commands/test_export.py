"""Exported folders load without this project, prompt as training did, and end a turn where training did."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from called import refused
from conftest import byte_level_tokenizer
from tokenizers import processors
from warm_runs import WarmRuns, tiny

from clo.commands.export import Options
from clo.commands.options import read
from clo.data.prompt import Renderer
from clo.errors import UserError
from clo.study.export import export, push, with_template

PLAIN = "### Question: {prompt} ### 'Answer':"


def trained(warm: WarmRuns, model: Path, place: Path, *more: str) -> Path:
    ended = warm.run(tiny(model, place, *more), place)
    assert ended.code == 0, ended.err
    (run,) = (place / "outputs" / "runs").iterdir()
    return run


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        out: torch.Tensor = model(input_ids=torch.tensor([[5, 9, 40, 7]])).logits
    return out


def test_full_weights(warm: WarmRuns, tiny_folder: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    run = trained(warm, tiny_folder, tmp_path, f'model.template="{PLAIN}"')
    export(run, tmp_path / "served")
    ours, theirs = (AutoModelForCausalLM.from_pretrained(p) for p in (run / "model", tmp_path / "served"))
    assert torch.equal(logits(ours), logits(theirs))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "served")
    renderer = Renderer(AutoTokenizer.from_pretrained(run / "model"), PLAIN)
    for text in ("Taja tunda.", 'with "quotes" and {braces}'):
        turns = [{"role": "user", "content": text}]
        rendered = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        assert tokenizer.encode(rendered, add_special_tokens=False) == renderer.prompt_ids(text)
    assert theirs.generation_config.eos_token_id[0] == renderer.end_id
    assert theirs.generation_config.pad_token_id is not None
    assert "library_name: transformers" in (tmp_path / "served" / "README.md").read_text()


def test_a_run_is_exported_as_it_was_trained(warm: WarmRuns, tiny_folder: Path, tmp_path: Path) -> None:
    """The start model's folder may hold another template by now, or be gone: the run has its own."""
    from transformers import AutoTokenizer

    start = shutil.copytree(tiny_folder, tmp_path / "start")
    run = trained(warm, start, tmp_path)
    (start / "chat_template.jinja").write_text("NEW {{ messages[0].content }}")
    export(run, tmp_path / "one")
    shutil.rmtree(start)
    export(run, tmp_path / "two")
    own, *served = (
        AutoTokenizer.from_pretrained(p).chat_template for p in (run / "model", tmp_path / "one", tmp_path / "two")
    )
    assert served == [own, own] and "NEW" not in own


@pytest.mark.parametrize("template", [PLAIN, "<|user|><|assistant|>" + PLAIN], ids=["told", "written"])
def test_what_every_text_begins_with_is_served_once(template: str) -> None:
    tokenizer = byte_level_tokenizer(chat=False)
    told = [(token, tokenizer.convert_tokens_to_ids(token)) for token in ("<|user|>", "<|assistant|>")]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing("<|user|> <|assistant|> $A", None, told)
    renderer = Renderer(tokenizer, template)
    wanted = renderer.prompt_ids("Taja tunda.")
    served, turns = with_template(renderer), [{"role": "user", "content": "Taja tunda."}]
    rendered = served.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    assert served.encode(rendered, add_special_tokens=False) == wanted


def test_adapters_merged_and_kept(warm: WarmRuns, tiny_folder: Path, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    run = trained(warm, tiny_folder, tmp_path, "tuning=attention_lora")
    export(run, tmp_path / "merged")
    export(run, tmp_path / "adapter", merge=False)
    base = AutoModelForCausalLM.from_pretrained(tiny_folder)
    before = logits(base)
    adapted = logits(PeftModel.from_pretrained(base, tmp_path / "adapter").eval())
    merged = logits(AutoModelForCausalLM.from_pretrained(tmp_path / "merged"))
    torch.testing.assert_close(merged, adapted, rtol=1e-4, atol=1e-5)
    assert float((merged - before).abs().max()) > 1e-4
    assert not (tmp_path / "merged" / "adapter_config.json").exists()
    assert "library_name: transformers" in (tmp_path / "merged" / "README.md").read_text()
    assert "library_name: peft" in (tmp_path / "adapter" / "README.md").read_text()


TURNS = (
    "{% for m in messages %}{{ '<|user|>' + m['content'] }}{% if m['role'] == 'assistant' %}{{ '<|close|>' }}"
    "{% elif big is defined and big %}{{ strftime_now('%Y') }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|user|>' }}{% endif %}"
)


@pytest.fixture
def other_end(tiny_folder: Path, tmp_path: Path) -> Path:
    """A model whose template closes a turn with another token than its end of a sequence."""
    import shutil

    from transformers import AutoTokenizer

    path = tmp_path / "other_end"
    shutil.copytree(tiny_folder, path)
    tokenizer = AutoTokenizer.from_pretrained(path)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|close|>"]})
    tokenizer.chat_template = TURNS
    tokenizer.save_pretrained(path)
    return path


@pytest.mark.parametrize("template", ["chat", PLAIN])
def test_an_exported_model_ends_a_turn_where_it_was_trained_to(
    warm: WarmRuns, other_end: Path, tmp_path: Path, template: str
) -> None:
    """The end is the template's, in the generation settings and in the tokenizer; the exported folder trains again."""
    from transformers import AutoTokenizer, GenerationConfig

    given = [] if template == "chat" else ["model.end_of_turn='<|close|>'"]
    more = ["+model.template_kwargs.big=true", "model.date=2024-07-26"] if template == "chat" else []
    run = trained(warm, other_end, tmp_path, f'model.template="{template}"', *given, *more)
    export(run, tmp_path / "served")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "served")
    close = tokenizer.convert_tokens_to_ids("<|close|>")
    settings = GenerationConfig.from_pretrained(tmp_path / "served")
    assert tokenizer.eos_token_id == close and settings.eos_token_id == [close, 0]  # the old one stops it too
    again = Renderer(tokenizer, "chat")
    assert again.end_id == close and again.ends([0, 9]) == [close, 0]  # 9 is an ordinary token: no answer ends there
    if template == "chat":
        text = tokenizer.apply_chat_template([{"role": "user", "content": "Taja"}], tokenize=False)
        assert text == "<|user|>Taja2024"


def test_dtype(warm: WarmRuns, tiny_folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    run = trained(warm, tiny_folder, tmp_path)
    export(run, tmp_path / "half", dtype="bfloat16")
    tensors = load_file(tmp_path / "half" / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
    with pytest.raises(UserError, match="not empty"):
        export(run, tmp_path / "half")
    with pytest.raises(UserError, match="merge=false has no effect here"):
        export(run, tmp_path / "adapter", merge=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run=a"], "to=<folder> is missing"),
        (["to=a"], "run=<folder> is missing"),
        (["run=a", "to=b", "merge=1"], "must be true or false"),
        (["run=a", "to=b", "dtype=int8"], "must be one of"),
        (["run=a", "to=b", "folder=c"], "unknown argument"),
        (["run=nowhere", "to=b"], "run=nowhere does not exist"),
        (["run=a", "to=b", "yes=true"], "yes=true has no effect here: push=<name> reads it"),
    ],
)
def test_bad_arguments(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in refused(["export", *arguments], capsys)
    assert not list(tmp_path.iterdir())


def test_uploads_ask_and_never_say_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    done: list[Any] = []

    class Api:
        def create_repo(self, name: str, **options: Any) -> None:
            done.append((name, options))

        def upload_folder(self, **options: Any) -> None:
            if options["repo_id"] == "me/broken":
                raise OSError("401 with hf_secret123")
            done.append(options)

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    with pytest.raises(UserError, match="add yes=true"):
        push(tmp_path, "me/model", sure=False)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    with pytest.raises(UserError, match="not uploaded"):
        push(tmp_path, "me/model", sure=False, ask=lambda _: "n")
    assert not done
    push(tmp_path, "me/model", sure=False, ask=lambda _: "y")
    assert done[0] == ("me/model", {"private": True, "exist_ok": True}) and done[1]["repo_id"] == "me/model"
    with pytest.raises(UserError) as error:
        push(tmp_path, "me/broken", sure=True)
    assert "hf_secret123" not in str(error.value)
    assert read(Options, ["run=a", "to=b", "push=me/x", "yes=true"], "export").yes

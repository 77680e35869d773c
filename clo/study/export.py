"""A finished run's model as a folder that any server loads."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clo.errors import UserError
from clo.storage.files import whole_folder
from clo.study.finished import finished_run, load_trained, trained_config
from clo.study.session import renderer_of


def export(run: Path, to: Path, merge: bool = True, dtype: str | None = None) -> None:
    """Write the model folder, whole or not at all.

    Args:
        run: a finished run's folder.
        to: a new folder.
        merge: fold adapters into the weights.
        dtype: bfloat16, float16 or float32; none is that of the start model.

    Raises:
        UserError: not a finished run, the folder is taken, or there are no adapters to keep.
    """
    from clo.model.load import stored_dtype
    from clo.training.loggers import quiet_libraries

    folder, config = finished_run(run)
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise UserError(f"to={to} is {'not empty' if to.is_dir() else 'no folder'}; give a new folder")
    quiet_libraries()
    model = load_trained(config, folder.path)
    adapters = hasattr(model, "merge_and_unload")
    if not (adapters or merge):
        raise UserError("merge=false has no effect here: this run has no adapters; leave merge out")
    if adapters and merge:
        model = model.merge_and_unload()
    own = trained_config(config.model, folder.path)  # the start model's folder may hold something else by now
    has_config = (folder.path / "model" / "config.json").is_file()  # adapters have none
    dtype = dtype or stored_dtype(own if has_config else config.model)
    if dtype is not None:
        import torch

        model = model.to(getattr(torch, dtype))
    renderer = renderer_of(own)
    model.generation_config = generation_settings(model.generation_config, renderer)
    tokenizer = with_template(renderer)
    with whole_folder(to) as path:
        model.save_pretrained(path)
        model.generation_config.save_pretrained(path)
        tokenizer.save_pretrained(path)
        card = (folder.path / "model" / "README.md").read_text(encoding="utf-8")
        if adapters and merge:
            card = card.replace("library_name: peft", "library_name: transformers")
        (path / "README.md").write_text(card, encoding="utf-8")
    print(f"written to {to}")


def generation_settings(settings: Any, renderer: Any) -> Any:
    """The model's own settings, with the end of a turn that it was trained to write, and a padding token."""
    settings.eos_token_id = renderer.ends(settings.eos_token_id)
    if settings.pad_token_id is None:
        settings.pad_token_id = renderer.end_id
    return settings


def with_template(renderer: Any) -> Any:
    """The tokenizer with the run's prompt template as its chat template, so that a server prompts as training did.

    Its end-of-sequence token becomes the one that ends a turn: servers stop there that read no generation settings.
    """
    tokenizer = renderer.tokenizer
    end, eos = tokenizer.convert_ids_to_tokens(renderer.end_id), tokenizer.eos_token
    before = renderer.prompt_ids("a")
    if renderer.chat is not None:
        tokenizer.chat_template = renderer.chat.text
    else:
        parts = (repr(part) for part in renderer.template.split("{prompt}"))
        begin = "".join(tokenizer.convert_ids_to_tokens(renderer.beginning))
        bos = "" if renderer.template.startswith(begin) else f"{{{{ {begin!r} }}}}"
        asked = " + m['content'] + ".join(parts)
        tokenizer.chat_template = (
            f"{bos}{{% for m in messages %}}{{% if m['role'] == 'assistant' %}}{{{{ m['content'] + {end!r} }}}}"
            f"{{% else %}}{{{{ {asked} }}}}{{% endif %}}{{% endfor %}}"
        )
    tokenizer.eos_token = end
    if renderer.chat is not None and renderer.prompt_ids("a") != before:
        tokenizer.eos_token = eos  # the template writes it, and would write another prompt now
    return tokenizer


def push(folder: Path, name: str, sure: bool, ask: Callable[[str], str] = input) -> None:
    """Upload a model folder to the hub, privately, after asking.

    Raises:
        UserError: not confirmed, no credentials, or the upload failed; the message never holds a token.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    if not sure:
        if not sys.stdin.isatty():
            raise UserError(f"push={name} asks first, and nobody is here to answer; add yes=true")
        if ask(f"upload {folder} to the hub as {name} (private)? [y/N] ").strip().lower() not in ("y", "yes"):
            raise UserError(f"not uploaded; the model is in {folder}")
    api = HfApi()
    try:
        api.create_repo(name, private=True, exist_ok=True)
        api.upload_folder(folder_path=folder, repo_id=name)
    except LocalTokenNotFoundError as error:
        raise UserError("the hub wants a login: run `hf auth login`, then the same command") from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise UserError(f"upload to {name} failed ({type(error).__name__}); the model is in {folder}") from error
    print(f"uploaded to {name}")

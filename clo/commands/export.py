"""A finished run's model as a folder that any server loads."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clo.errors import UserError

USAGE = """usage: python -m clo.commands.export run=<folder> to=<folder> [key=value ...]

  run=<folder>   a finished run's folder
  to=<folder>    where the model goes: weights, tokenizer, chat template, generation settings, card
  merge=...      fold adapters into the weights (default true); false keeps them as an adapter for PEFT
  dtype=...      bfloat16, float16 or float32 (default: as the start model is stored)
  push=<name>    upload the folder to the Hugging Face hub under this name, after asking; needs `hf auth login`
  yes=true       upload without asking"""

DTYPES = ("bfloat16", "float16", "float32")


@dataclass(frozen=True)
class Export:
    """What is asked for."""

    run: Path
    to: Path
    merge: bool = True
    dtype: str | None = None
    push: str | None = None
    yes: bool = False


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or {"-h", "--help"} & set(arguments):
        print(USAGE)
        sys.exit(0 if arguments else 1)
    try:
        asked = parse_arguments(arguments)
        export(asked)
        if asked.push is not None:
            push(asked.to, asked.push, asked.yes)
    except UserError as error:
        sys.exit(f"error: {error}")


def parse_arguments(arguments: Sequence[str]) -> Export:
    """Read ``key=value`` arguments.

    Raises:
        UserError: an unknown key, a missing one or a wrong value.
    """
    known = ("run", "to", "merge", "dtype", "push", "yes")
    given: dict[str, str] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or key not in known:
            raise UserError(f"unknown argument {argument!r}; known are {', '.join(f'{k}=' for k in known)}")
        given[key] = value
    for key in ("run", "to"):
        if not given.get(key):
            raise UserError(f"{key}=<folder> is missing; `python -m clo.commands.export --help` tells more")
    for key in ("merge", "yes"):
        if given.get(key, "true") not in ("true", "false"):
            raise UserError(f"{key}={given[key]} must be true or false")
    if given.get("dtype", "float32") not in DTYPES:
        raise UserError(f"dtype={given['dtype']} must be one of {', '.join(DTYPES)}")
    return Export(
        Path(given["run"]),
        Path(given["to"]),
        given.get("merge", "true") == "true",
        given.get("dtype"),
        given.get("push"),
        given.get("yes", "false") == "true",
    )


def export(asked: Export) -> None:
    """Write the model folder, whole or not at all.

    Raises:
        UserError: not a finished run, or the folder is taken.
    """
    from clo.commands.evaluate import finished_run, load_trained
    from clo.data.prompt import Renderer
    from clo.model.load import load_tokenizer
    from clo.storage.run_folder import whole_folder
    from clo.training.loggers import quiet_libraries

    folder, run = finished_run(asked.run)
    if asked.to.exists() and any(asked.to.iterdir()):
        raise UserError(f"to={asked.to} is not empty; give a new folder")
    quiet_libraries()
    source = folder.path / "model"
    model = load_trained(run, source)
    adapters = hasattr(model, "merge_and_unload")
    if adapters and asked.merge:
        model = model.merge_and_unload()
    dtype = asked.dtype or stored_dtype(run.model)
    if dtype is not None:
        import torch

        model = model.to(getattr(torch, dtype))
    renderer = Renderer(load_tokenizer(run.model), run.model.template, run.model.end_of_turn)
    model.generation_config = generation_settings(model.generation_config, renderer)
    tokenizer = with_template(renderer)
    with whole_folder(asked.to) as path:
        model.save_pretrained(path)
        model.generation_config.save_pretrained(path)
        tokenizer.save_pretrained(path)
        card = (source / "README.md").read_text(encoding="utf-8")
        if adapters and asked.merge:
            card = card.replace("library_name: peft", "library_name: transformers")
        (path / "README.md").write_text(card, encoding="utf-8")
    print(f"written to {asked.to}")


def stored_dtype(config: Any) -> str | None:
    """Dtype that the start model is stored in; what trained was float32 only for training."""
    from transformers import AutoConfig

    from clo.model.load import resolve_path

    if config.dtype != "auto":
        return str(config.dtype)
    found = AutoConfig.from_pretrained(resolve_path(config.path), revision=config.revision).dtype
    return None if found is None else str(found).removeprefix("torch.")


def generation_settings(settings: Any, renderer: Any) -> Any:
    """The model's own settings, with the end of a turn that it was trained to write, and a padding token."""
    ends = settings.eos_token_id
    ends = list(ends) if isinstance(ends, list) else [] if ends is None else [ends]
    settings.eos_token_id = list(dict.fromkeys([renderer.end_id, *ends]))
    if settings.pad_token_id is None:
        settings.pad_token_id = renderer.end_id
    return settings


def with_template(renderer: Any) -> Any:
    """The tokenizer with the run's prompt template as its chat template, so that a server prompts as training did."""
    tokenizer = renderer.tokenizer
    if renderer.template != "chat":
        before, after = (repr(part) for part in renderer.template.split("{prompt}"))
        bos = "{{ bos_token }}" if renderer.prompt_ids("a")[0] == tokenizer.bos_token_id else ""
        tokenizer.chat_template = f"{bos}{{{{ {before} + messages[-1]['content'] + {after} }}}}"
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


if __name__ == "__main__":
    main()

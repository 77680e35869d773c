"""Load a causal language model and its tokenizer: a hub id, a local folder, or a model shipped with this package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clo.config import ModelConfig
from clo.errors import UserError
from clo.model.folder import check_finite, check_place, local_folder, resolve_path, told
from clo.model.together import read_together, weight_files
from clo.storage.ranks import Ranks, local_rank

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def load_tokenizer(config: ModelConfig) -> PreTrainedTokenizerBase:
    """Load the tokenizer alone.

    Raises:
        UserError: not found, gated, offline, or broken.
    """
    from transformers import AutoTokenizer

    return _load(AutoTokenizer, config)


def load_model(config: ModelConfig, device: Any = None, ranks: Ranks = Ranks()) -> Any:  # noqa: B008  # a frozen value
    """Load the weights, in the stored dtype or the one asked for, in evaluation mode.

    Args:
        config: what to load.
        device: read the files straight onto it, so that no process of a machine with several holds a copy on the host;
            null is the CPU.
        ranks: load the same model at once, and share the reading where its weights are safetensors files; the model
            is the one that each would load alone.

    Raises:
        UserError: not found, gated, offline, or broken; weights that are missing or not finite; or ``max_length`` is
            over the model's window.
    """
    from transformers import AutoModelForCausalLM

    from clo.model.layers import text_config
    from clo.model.window import check_max_length

    if (Path(resolve_path(config.path)) / "adapter_config.json").is_file():
        return _merged(config, ranks)
    options = {"dtype": config.dtype, "output_loading_info": True, "ignore_mismatched_sizes": True}
    if config.quantize is not None:
        options["quantization_config"] = _quantization(config)
    elif device is not None:
        options["device_map"] = {"": device}
    files = weight_files(local_folder(config.path, config.revision)) if ranks.ranks > 1 else []
    if files and config.quantize is None:
        model, found = _load_together(config, files, ranks, **options)
    else:
        model, found = _load(AutoModelForCausalLM, config, **options)
    bad = sorted({*found["missing_keys"], *(name for name, *_ in found["mismatched_keys"])})
    if bad:  # transformers would draw them at random
        raise UserError(
            f"cannot load model.path={config.path}: its weights lack {bad[0]} or hold it in another shape "
            f"({len(bad)} in all); it must be a whole causal language model"
        )
    check_finite(config.path, model.named_parameters())
    check_max_length(config.path, text_config(model), config.max_length)
    return model.eval()


def _load_together(config: ModelConfig, files: Sequence[Path], ranks: Ranks, **options: Any) -> Any:
    """As ``_load`` gives a model; its tensors are those that all ranks have read."""
    from transformers import GenerationConfig

    path, shape = resolve_path(config.path), shape_only(config)
    with told(config.path, path):
        tensors = read_together(files, ranks, options.get("device_map", {"": "cpu"})[""])
        model, found = type(shape).from_pretrained(None, config=shape.config, state_dict=tensors, **options)
        model.config.name_or_path = path
        if (files[0].parent / "generation_config.json").is_file():
            model.generation_config = GenerationConfig.from_pretrained(files[0].parent)
    return model, found


def _merged(config: ModelConfig, ranks: Ranks) -> Any:
    """The base of an adapter folder with the adapter folded in: it is then the start model, and the reference."""
    from peft import PeftConfig

    path = resolve_path(config.path)
    with told(config.path, path):
        base = PeftConfig.from_pretrained(path).base_model_name_or_path
    if not base:
        raise UserError(f"model.path={config.path} is an adapter that does not name its base model")
    model = load_model(replace(config, path=base, revision=None), ranks=ranks)
    return adapted(model, config).merge_and_unload().eval()


def adapted(model: Any, config: ModelConfig) -> Any:
    """A base model with the adapter of a folder on it, in evaluation mode.

    Raises:
        UserError: the adapter is broken, or of another base.
    """
    from peft import PeftModel

    path = resolve_path(config.path)
    with told(config.path, path):
        _widen(model, Path(path) / "adapter_model.safetensors")
        found = PeftModel.from_pretrained(model, path).eval()
    check_finite(config.path, ((name, weight) for name, weight in found.named_parameters() if "lora_" in name))
    return found


def _widen(model: Any, adapter: Path) -> None:
    """Give the base as many embeddings as an adapter that was trained with tokens of its own brings."""
    from safetensors import safe_open

    if not adapter.is_file():
        return
    name = next(name for name, module in model.named_modules() if module is model.get_input_embeddings())
    with safe_open(adapter, "pt") as file:
        rows = [file.get_slice(key).get_shape()[0] for key in file.keys() if key.endswith(f".{name}.weight")]  # noqa: SIM118
    if rows and rows[0] != model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(rows[0], mean_resizing=False)


def _quantization(config: ModelConfig) -> Any:
    """Settings of bitsandbytes: NF4 with double quantization, or 8-bit integers.

    Raises:
        UserError: it is not installed, or there is no GPU.
    """
    from importlib.util import find_spec

    import torch
    from transformers import BitsAndBytesConfig

    if find_spec("bitsandbytes") is None or not torch.cuda.is_available():
        raise UserError(f"model.quantize={config.quantize} needs a GPU and `pip install bitsandbytes`")
    if config.quantize == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def _load(auto_class: Any, config: ModelConfig, **kwargs: Any) -> Any:
    path = resolve_path(config.path)
    check_place(config.path, path)
    with told(config.path, path):
        return auto_class.from_pretrained(
            path, revision=config.revision, trust_remote_code=config.trust_remote_code, **kwargs
        )


def shape_only(config: ModelConfig) -> Any:
    """The model without weights, on the meta device: its configuration is all that is read.

    Raises:
        UserError: not found, gated, offline, or broken; or ``max_length`` is over what the model reads.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from clo.model.window import check_max_length

    shape = _load(AutoConfig, config)
    check_max_length(config.path, shape.get_text_config(decoder=True), config.max_length)
    stored = shape.dtype if config.dtype == "auto" else getattr(torch, config.dtype)
    with told(config.path, resolve_path(config.path)), torch.device("meta"):
        return AutoModelForCausalLM.from_config(shape, dtype=stored or torch.float32).eval()


def stored_dtype(config: ModelConfig) -> str | None:
    """Name of the dtype that the model is to be kept in: the one asked for, else the one it is stored in, if it says.

    Raises:
        UserError: not found, gated, offline, or broken.
    """
    from transformers import AutoConfig

    if config.dtype != "auto":
        return str(config.dtype)
    found = _load(AutoConfig, config).dtype
    return None if found is None else str(found).removeprefix("torch.")


def run_device(accelerator: str) -> Any:
    """The device of this process: the GPU of its number on this node where the accelerator asks for it.

    Raises:
        UserError: there is no such device.
    """
    import torch

    if accelerator == "cpu" or (accelerator == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UserError(f"trainer.accelerator={accelerator}, but no GPU is visible; set trainer=cpu")
    return torch.device("cuda", local_rank())


def prepare_processor(threads: int, precision: str, device: Any) -> None:
    """Settings of this process that change speed only; says so where the precision does not suit the processor.

    Raises:
        UserError: the GPU is older than the precision.
    """
    import torch

    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)  # saturated comparisons underflow, and denormals make CPU steps several times slower
    if device.type == "cuda" and precision == "bf16-mixed" and torch.cuda.get_device_capability(device) < (8, 0):
        raise UserError(
            f"{torch.cuda.get_device_name(device)} has no bfloat16 units, which fused attention needs; set "
            "trainer.precision=32-true, or take a card of compute capability 8.0 or later (A100, L4, RTX 30)"
        )
    units = "avx512_bf16", "amx_bf16", "bf16"  # the last is ARM's
    info = Path("/proc/cpuinfo")
    if device.type == "cpu" and precision == "bf16-mixed" and info.is_file():
        flags = set(info.read_text().split())
        if not flags.intersection(units):
            print("this CPU has no bfloat16 units: trainer.precision=32-true is faster here", flush=True)


def check_precision(model: Any, precision: str) -> None:
    """What trains is float32, so other dtypes need mixed precision.

    Raises:
        UserError: the frozen weights are not float32 and the precision is 32-true.
    """
    if precision == "32-true" and str(model.dtype) != "torch.float32":
        raise UserError(f"the model is {model.dtype}; set trainer.precision=bf16-mixed or model.dtype=float32")


def mixed(precision: str, device: Any) -> Any:
    """The context that scores are computed in outside of training: the same precision as in it."""
    import torch

    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16-mixed")

"""``lang=[ko,sw]``: several files of ``conf/lang`` for one run.

Hydra would lay the files over each other. Each is composed by itself instead, with everything else that was asked, and
the run has them all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from clo.config.lang import Target
from clo.errors import UserError

CONFIG = "config"


VALUES = ("seed", "data_size", "batch_size", "study_name", "output_dir", "cache_dir", "jobs", "retries", "plan")
"""Settings of no group."""
Known = dict[tuple[str, ...], DictConfig]
"""A file of ``conf/lang`` and what can reach it of the overrides -> its part of the configuration."""


def with_targets(
    cfg: DictConfig, overrides: Sequence[str], choices: Mapping[str, str | None], known: Known | None = None
) -> DictConfig:
    """The configuration with all targets that the overrides and the files choose; as it is where that is one.

    Args:
        cfg: as Hydra composed it; Hydra is still at work.
        overrides: what it was composed with.
        choices: Hydra's, by group; of several files it has none for ``lang``.
        known: of the cells of one grid, which mostly have the same targets; is added to.

    Raises:
        UserError: none is chosen, or their sources differ.
    """
    if choices.get("lang"):
        return cfg
    chosen = _chosen(overrides)
    if not chosen:
        raise UserError("lang=[] names no target; give one, such as lang=sw, or several, such as lang=[ko,sw]")
    if len(chosen) == 1:
        return cfg
    others = [word for word in overrides if _key(word) != "lang"]
    found = [_composed(name, others, {} if known is None else known) for name in chosen]
    if len({one.source for one in found}) > 1:
        raise UserError(f"lang=[{','.join(chosen)}] needs one source, and their files name several")
    first, *rest = found
    with open_dict(cfg):
        cfg.lang = first
        cfg.lang.further = [Target(one.code, one.name, one.tier, one.identify) for one in rest]
    return OmegaConf.create(cfg)


def _composed(name: str, others: Sequence[str], known: Known) -> DictConfig:
    """The part of a target: values of other groups do not reach it, unless it asks for them by ``${...}``."""
    reaching = (name, *(word for word in others if not _value_elsewhere(_key(word))))
    if reaching in known:
        return known[reaching].copy()
    found: DictConfig = compose(CONFIG, [*others, f"lang={name}"]).lang
    if "${" not in OmegaConf.to_yaml(found):
        known[reaching] = found.copy()
    return found


def _value_elsewhere(key: str) -> bool:
    """Whether a key sets a value outside of ``lang``, and chooses no file."""
    return not key.startswith(("lang.", "hydra.")) and "@" not in key and ("." in key or key in VALUES)


def _key(word: str) -> str:
    return word.lstrip("+~").partition("=")[0]


def _chosen(overrides: Sequence[str]) -> list[str]:
    """Names of the files of ``conf/lang``."""
    loader = GlobalHydra.instance().config_loader()
    files = loader.compute_defaults_list(CONFIG, list(overrides), RunMode.RUN).defaults
    groups = [(one.config_path or "").rpartition("/") for one in files if not (one.parent or "").startswith("lang/")]
    return [name for group, _, name in groups if group == "lang"]

"""No setting without effect: typed, one that no run reads is refused with the choices under which it is read.

Both are found by construction. What a run reads is what the functions of ``reads.py`` yield, and what those values
refer to in the files of ``conf/``; the choices are found by trying the other files of each group, and other values of
single settings, through the same functions.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import re
from collections.abc import Iterable, Iterator, Sequence, Set
from enum import Enum
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from clo.config.parse import RunConfig, conf_dir, tree
from clo.config.reads import inner, is_whole, reads, settings, shipped
from clo.errors import UserError

if TYPE_CHECKING:
    from clo.config import ModelConfig

GROUPS = ("method", "data", "evaluation", "logger", "trainer", "tuning", "mixture", "model")
"""Groups whose files are tried; a model only where nothing else helps."""
MOST = 4
"""Names of a group's files that a message lists."""
_REFERENCE = re.compile(r"\$\{([a-z_][\w.]*)\}")


def check_recipe(choice: str, model: ModelConfig) -> None:
    """Refuse the recipe of an embedded model for another model: its rates suit a million parameters.

    Args:
        choice: the file of ``conf/model`` that was chosen.
        model: what came of it.

    Raises:
        UserError: names the choice that suits any model.
    """
    if shipped(choice) and not shipped(model.path):
        raise UserError(
            f"model.path={model.path} would be trained with the recipe of {choice}, an embedded model; set "
            f"model=any model.path={model.path}, or choose a file of conf/model"
        )


def read_by(run: RunConfig, cfg: DictConfig) -> set[str]:
    """Dotted names of the settings that a run reads, and of those that their values refer to.

    Args:
        run: what came of ``cfg``.
        cfg: as composed, its references not resolved.
    """
    found = reads(run)
    todo = list(found)
    while todo:
        new = set(_REFERENCE.findall(_written(cfg, todo.pop()))) - found
        found |= new
        todo += new
    return found


def check_effect(typed: Iterable[str], read: Set[str], cfg: DictConfig, groups: Sequence[str] = GROUPS) -> None:
    """Refuse a typed setting that no run of the command reads.

    Args:
        typed: overrides of the command line, ``key=value`` with Hydra's prefixes.
        read: what any of the command's runs reads, see `read_by`.
        cfg: one of them, as composed.
        groups: those of which the command takes a file.

    Raises:
        UserError: names the setting, and the choices that read it.
    """
    keys = [key for word in typed if (key := _key(word))]
    key = next((key for key in keys if not is_read(key, read)), "")
    if not key:
        return
    typed_cfg = cast(DictConfig, OmegaConf.merge(tree(), cfg))
    name = key
    while not is_read(name, read):
        if choices := _choices(name, keys, read, typed_cfg, groups):
            which = "it" if name == key else name
            raise UserError(
                f"{key} has no effect here: {which} is read with {choices}; choose that, or leave {key} out"
            )
        name = name.rpartition(".")[0]
    raise UserError(f"{key} has no effect here: nothing that is read refers to it; leave it out")


def without_unread(typed: Iterable[str], read: Set[str]) -> list[str]:
    """The words for one cell of a grid: without what other cells read, and without what the grid itself does."""
    return [word for word in typed if not (key := _key(word)) or (is_read(key, read) and key not in OF_A_GRID)]


OF_A_GRID = ("jobs", "retries")
"""Settings of a grid as a whole."""
_TOPS = {field.name for field in dataclasses.fields(RunConfig)}


def _key(word: str) -> str:
    """The setting that an override names; empty for what is none of a run's."""
    key = word.partition("=")[0].lstrip("+~")
    return key if key.partition(".")[0] in _TOPS else ""


def is_read(key: str, read: Set[str]) -> bool:
    """Whether a setting or anything in it is read; a mapping is read as a whole, as the rates of a recipe are."""
    key = next((name for name in _MAPPINGS if key.startswith(f"{name}.")), key)
    return key in read or any(name.startswith(f"{key}.") for name in read)


_MAPPINGS = {name for name, hint, _ in settings(RunConfig) if get_origin(hint) is dict}


def _choices(key: str, typed: list[str], read: Set[str], cfg: DictConfig, groups: Sequence[str]) -> str:
    """Choices under which a setting is read, the most useful first: what was typed otherwise, files, single values."""
    singles = {name: word for name, word in _singles(key, read, cfg)}
    named = [word for name, word in singles.items() if name in typed]
    near = max((_shared(name, key) for name in singles), default=0)
    nearest = [word for name, word in singles.items() if _shared(name, key) == near]
    tried = sorted((group for group in groups if group != "model"), key=lambda group: not key.startswith(f"{group}."))
    if files := next(filter(None, (_files(group, key, typed, cfg) for group in tried)), ""):
        return " or ".join([*named, files])
    one = " or ".join(named or nearest) or ("model" in groups and _files("model", key, typed, cfg)) or ""
    one = one or (_file_and_single(key, cfg) if key.partition(".")[0] in tried else "")
    return one or _two_singles(key, read, cfg)


def _read_so(tried: DictConfig) -> set[str]:
    """What a run of other choices reads; nothing where a value of the study cannot be made with them."""
    try:
        return read_by(cast(RunConfig, tried), tried)
    except OmegaConfBaseException:
        return set()


def _file_and_single(key: str, cfg: DictConfig) -> str:
    """A file of the setting's own group with another value of one setting: what a loss reads, typed for SFT."""
    group, tried = key.partition(".")[0], OmegaConf.create(cfg)
    for path in sorted((Path(conf_dir()) / group).glob("*.yaml")):
        tried[group] = _chosen(group, path)
        for _, word in _singles(key, _read_so(tried), tried):
            return f"{group}={path.stem} and {word}"
    return ""


def _shared(name: str, key: str) -> int:
    """Groups that two settings are both in."""
    a, b = name.split(".")[:-1], key.split(".")[:-1]
    return next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _files(group: str, key: str, typed: list[str], cfg: DictConfig) -> str:
    """``group=<file>, <file> or <file>``: those with which the setting is read, with what was typed laid over them."""
    tried, found = OmegaConf.create(cfg), []
    over = [name for name in typed if name.startswith(f"{group}.") and not f"{key}.".startswith(f"{name}.")]
    for path in sorted((Path(conf_dir()) / group).glob("*.yaml")):
        if over:
            laid = _file(path)
            for name in over:
                _lay(laid, name.split(".")[1:], OmegaConf.select(cfg, name))
            tried[group] = OmegaConf.merge(_schema(group), laid)
        else:
            tried[group] = _chosen(group, path)  # which makes a copy
        if is_read(key, _read_so(tried)):
            found.append(path.stem)
        if len(found) == MOST:
            break
    *most, last = found if found else [""]
    return f"{group}={', '.join(most)}{' or ' if most else ''}{last}" if found else ""


@functools.cache
def _schema(group: str) -> DictConfig:
    return OmegaConf.structured(get_type_hints(RunConfig)[group])


@functools.cache
def _chosen(group: str, path: Path) -> DictConfig:
    """A group as its file leaves it."""
    return cast(DictConfig, OmegaConf.merge(_schema(group), _file(path)))


def _file(path: Path) -> dict[str, Any]:
    """A file of a group over those of its own group that it names; the caller's own."""
    found = copy.deepcopy(_read(path))
    for below in found.pop("defaults", []):
        if isinstance(below, str) and below != "_self_":
            found = _file(path.with_name(f"{below}.yaml")) | found
    return found


@functools.cache
def _read(path: Path) -> dict[str, Any]:
    return cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(path), resolve=False))


def _lay(tree: dict[str, Any], parts: list[str], value: Any) -> None:
    for part in parts[:-1]:
        tree[part] = tree[part] if isinstance(tree.get(part), dict) else {}
        tree = tree[part]
    tree[parts[-1]] = value


def _singles(key: str, read: Set[str], cfg: DictConfig) -> Iterator[tuple[str, str]]:
    """Settings of which another value makes the run read the wanted one, with the word that sets it."""
    tried, written = OmegaConf.create(cfg), OmegaConf.to_container(cfg, resolve=False)
    for name, hint, field in settings(RunConfig):
        if name in read and (inner(hint) is None or is_whole(hint)) and _is_there(written, name):
            for value, word in _others(hint, OmegaConf.select(tried, name), field.metadata.get("values", ())):
                OmegaConf.update(tried, name, value)
                if is_read(key, _read_so(tried)):
                    yield name, field.metadata.get("written", f"{name}={word}")
                    break
            OmegaConf.update(tried, name, reduce(lambda node, part: node[part], name.split("."), written))


def _is_there(written: Any, name: str) -> bool:
    """Whether this run has the groups that a setting is in; another cell of its grid may be the one that has them."""
    for part in name.split(".")[:-1]:
        written = written.get(part) if isinstance(written, dict) else None
    return isinstance(written, dict)


def _two_singles(key: str, read: Set[str], cfg: DictConfig) -> str:
    """Another value of one setting, and of one that is read with it alone."""
    written = OmegaConf.to_container(cfg, resolve=False)
    for name, hint, field in settings(RunConfig):
        if name in read and (inner(hint) is None or is_whole(hint)) and _is_there(written, name):
            tried = OmegaConf.create(cfg)
            for value, word in _others(hint, OmegaConf.select(tried, name), field.metadata.get("values", ())):
                OmegaConf.update(tried, name, value)
                more = _read_so(tried) - read
                for _, second in _singles(key, more, tried) if more else ():
                    return f"{field.metadata.get('written', f'{name}={word}')} and {second}"
            OmegaConf.update(tried, name, reduce(lambda node, part: node[part], name.split("."), written))
    return ""


def _others(hint: Any, now: Any, values: Iterable[Any]) -> Iterator[tuple[Any, str]]:
    """Other values of a setting, and how they are written."""
    kinds = get_args(hint) or (hint,)
    if type(None) in kinds and now is not None:
        yield None, "null"
    elif type(None) in kinds:
        for kind, value, word in ((int, 1, "<count>"), (float, 1.0, "<number>"), (str, "x", "<text>")):
            if kind in kinds:
                yield value, word
    if isinstance(now, bool):
        yield not now, str(not now).lower()
    if isinstance(now, Enum):
        yield from ((other, other.name) for other in type(now) if other is not now)
    listed = get_origin(hint) is list
    yield from (([v], f"[{v}]") if listed else (v, str(v) or "''") for v in values if v != now)
    if listed and not values and not now:
        yield ["x"], "[…]"


def _written(cfg: DictConfig, name: str) -> str:
    """A value as it was written, where it is text."""
    node: Any = cfg
    for part in name.split("."):
        node = node._get_node(part) if OmegaConf.is_dict(node) else None
    value = None if node is None else node._value()
    return value if isinstance(value, str) else ""

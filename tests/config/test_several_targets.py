"""``lang=[ko,sw]`` and a size for each target: names, records, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from called import refused
from composed import run_of
from conftest import ROOT
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from clo.config import LangConfig
from clo.config.lang import Target, settled_size
from clo.config.parse import parse, plain, register_schema
from clo.errors import UserError


def test_cells_of_a_grid_share_what_is_composed_of_their_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values of other groups do not change it; what is set of the language does, and so does another file."""
    from clo.config import targets

    asked: list[str] = []

    def composed(name: str, words: list[str]) -> Any:
        asked.append(words[-1])
        return compose(name, words)

    monkeypatch.setattr(targets, "compose", composed)
    known: targets.Known = {}
    register_schema()
    for words, expected in (
        (["seed=0"], 2),
        (["seed=1", "method.lr=1e-3"], 2),
        (["lang.identify=none", "seed=1"], 4),
        (["model=tasks_s"], 6),
        (["seed=0"], 6),
    ):
        overrides = ["lang=[ko,sw]", *words]
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            cfg = compose("config", overrides, return_hydra_config=True)
            found = targets.with_targets(cfg, overrides, cfg.hydra.runtime.choices, known)
        assert len(asked) == expected, words
        assert not [key for key in targets.VALUES if key not in found or (ROOT / "conf" / key).is_dir()]
        assert [found.lang.code, found.lang.further[0].code] == ["ko", "sw"]
        assert (found.lang.further[0].identify.name == "none") == (words[0] == "lang.identify=none")


def test_the_order_of_targets_is_none_and_one_target_keeps_its_name() -> None:
    run = run_of("lang=[sw,ko]")
    assert run.lang.codes() == ("en", "ko", "sw") and run.slug() == run_of("lang=[ko,sw]").slug()
    assert run.slug().startswith("nano-clo-ko+sw-400-s0-")
    assert [one.name for one in run.lang.targets()] == ["Korean", "Swahili"] and run.lang.tier == "medium"
    assert run_of("lang=[sw]").slug() == run_of("lang=sw").slug()
    assert run_of("lang=sw", "data_size={sw: 400}").slug() == run_of("lang=sw").slug()
    assert run_of("lang=[sw,ko]", "data_size={ko: 400, sw: 400}").slug() == run.slug()
    sizes = run_of("lang=[sw,ko]", "data_size={ko: 400, sw: 40}")
    assert sizes.sizes() == {"ko": 400, "sw": 40} and "-ko+sw-440-s0-" in sizes.slug()
    many = run_of("lang=sw", f"lang.further=[{','.join(f'{{code: a{k}, name: A}}' for k in range(9))}]")
    assert "-a0+9-" in many.slug()


def test_a_record_is_read_as_it_was() -> None:
    run = run_of("lang=[sw,ko]", "data=files", "data.train='rows_${lang.code}.jsonl'", "data_size={ko: 4, sw: 2}")
    again = parse(OmegaConf.create(OmegaConf.to_yaml(OmegaConf.create(plain(run)))))
    assert again == run and again.slug() == run.slug()
    ko, sw = again.alone()
    assert (ko.data.train, sw.data.train) == ("rows_ko.jsonl", "rows_sw.jsonl")
    assert sw.slug() == run_of("lang=sw", "data=files", "data.train='rows_${lang.code}.jsonl'", "data_size=2").slug()
    assert run_of("lang=sw").alone() == [run_of("lang=sw")]


def test_runs_of_one_target_do_not_read_what_is_for_several() -> None:
    run = run_of("lang=[sw,ko]", "method.against=[ko]", "method.steps=9")
    assert {one.method.against for one in run.alone()} == {"all"}
    apart = run_of("lang=[sw,ko]", "data.targets=apart", "data.temperature=3", "method.steps=9")
    assert apart.data.temperature == 3 and apart.alone()[1].slug() == run_of("lang=sw", "method.steps=9").slug()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["lang=[]"], "lang=[] names no target"),
        (["lang=[ko,ko]"], "lang names the target 'ko' twice"),
        (["lang=[ko,sw]", "lang.source=ko"], "lang.code is the target and must differ from lang.source=ko"),
        (["lang=[ko,sw]", "data_size={ko: 4}"], "data_size is a number for each target, and lacks sw"),
        (["lang=[ko,sw]", "data_size={ko: 4, sw: 4, de: 4}"], "a number for each target of the run (ko, sw)"),
        (["lang=[ko,sw]", "data_size={ko: 4, sw: 0}"], "data_size is a number of training items, at least 1"),
        (["lang=[ko,sw]", "data.temperature=2"], "data.temperature has no effect here"),
        (["data.targets=apart"], "data.targets has no effect here"),
        (["lang=[ko,sw]", "data.targets=apart", "method.against=[ko]"], "data.targets=apart has one in an item"),
        (["lang=[ko,sw]", "data.targets=apart", "method.steps=2", "data.temperature=0.5"], "a number of at least 1"),
        (
            ["lang=[ko,sw]", "evaluation.benchmarks.harness=[belebele]"],
            "evaluation.benchmarks.harness asks in one target",
        ),
        (["method=[clo,sft]"], "method needs one option"),
    ],
)
def test_each_mistake_is_one_sentence(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert told in refused(["train", *words], capsys)


def test_sizes_and_targets_by_hand() -> None:
    assert settled_size({"ko": 2, "sw": 1}, ["ko", "sw"]) == {"ko": 2, "sw": 1}
    for wrong in ("4", 1.5, True, None, {"ko": 1, "sw": True}, []):
        with pytest.raises(UserError, match="data_size is a number"):
            settled_size(wrong, ["ko", "sw"])
    lang = LangConfig("sw", "Swahili", further=[Target("ha", "Hausa")])
    assert lang.codes() == ("en", "ha", "sw") and lang.code == "ha"
    with pytest.raises(UserError, match=r"lang\.code is the target and must differ"):
        LangConfig("sw", "Swahili", further=[Target("en", "English")])

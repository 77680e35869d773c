"""The paper's tables and figures, one study each, at three scales: axes, shared cells, what is assumed."""

from __future__ import annotations

import math
import re
import subprocess
from pathlib import Path

import pytest
from composed import composed, run_of
from conftest import ROOT

from clo.errors import UserError

MODELS = ["llama3_8b", "llama2_7b", "llama2_13b", "mistral_7b", "qwen2_5_3b"]
SIX = ["zh", "de", "ko", "id", "sw", "yo"]
CELLS = {
    "main_grid": {"nano": 90, "real": 36, "paper": 90},
    "data_efficiency": {"nano": 60, "real": 16, "paper": 60},
    "ablation_nll": {"nano": 10, "real": 4, "paper": 2},
    "ablation_tuning": {"nano": 27, "real": 6, "paper": 9},
    "memory": {"nano": 6, "real": 6, "paper": 6},
    "rerun": {"nano": 36, "real": 12, "paper": 60},
}
PAIRS = [(study, scale) for study, scales in CELLS.items() for scale in scales]


def axes_of(*words: str) -> dict[str, list[str]]:
    return {key: str(values).split(",") for key, values in composed(*words).hydra.sweeper.params.items()}


@pytest.mark.parametrize(("study", "scale"), PAIRS, ids=lambda value: value)
def test_every_value_at_every_scale_is_a_run_of_its_own(study: str, scale: str) -> None:
    """Cells in which every value of every axis comes once; the default scale, axis by axis: test_conf.py."""
    words = [f"study={study}", f"scale={scale}"]
    axes = axes_of(*words)
    assert math.prod(map(len, axes.values())) == CELLS[study][scale]
    if scale == "nano":
        return
    most = max(map(len, axes.values()))
    cells = [[f"{key}={values[k % len(values)]}" for key, values in axes.items()] for k in range(most)]
    runs = [run_of(*words, *cell) for cell in cells]
    assert len({run.slug() for run in runs}) == most
    assert {run.study_name for run in runs} == {f"{'rerun' if study == 'rerun' else 'paper'}_{scale}"}
    assert {run.scale for run in runs} == {scale}


def test_the_papers_own_size_is_the_papers() -> None:
    grid = axes_of("study=main_grid", "scale=paper")
    assert (grid["model"], grid["lang"], grid["method"]) == (MODELS, SIX, ["sft", "sft_dpo", "clo"])
    assert grid["data_size"] == ["6400"]
    assert axes_of("study=data_efficiency", "scale=paper")["data_size"] == ["400", "800", "1600", "3200", "6400"]
    run = run_of("study=main_grid", "scale=paper", "model=llama3_8b")
    assert run.data.source is not None and run.data.translation is not None
    assert (run.data.source.kind, run.data.translation.model) == ("oasst", "facebook/m2m100_1.2B")
    assert run.evaluation.benchmarks.names == ["belebele", "mmmlu"]
    assert (run.method.lam, run.method.beta, run.method.steps) == (0.5, 0.1, None)
    assert run_of("study=main_grid", "scale=paper", "method=sft", "model=llama3_8b").tuning.name == "full"


def test_the_guides_own_size_is_the_guides() -> None:
    """arXiv 2504.16677, as far as it is known: constant 1e-5, batches of 64, all weights, English 10,000."""
    words = ["study=guide", "scale=paper"]
    params = composed(*words).hydra.sweeper.params
    axes = {key: re.split(r",(?![^\[]*\])", str(values)) for key, values in params.items()}
    assert math.prod(map(len, axes.values())) == 3 * 4 * 9
    cell = [f"{key}={values[-1]}" for key, values in axes.items()]
    run = run_of(*words, *cell)
    assert (run.method.lr, run.optimizer.schedule.name, run.optimizer.warmup, run.batch_size) == (
        1e-5,
        "constant",
        0,
        64,
    )
    assert (run.tuning.name, run.trainer.keep.name, run.method.steps, run.study_name) == (
        "full",
        "best",
        None,
        "guide_paper",
    )
    sizes, seen = run.table()["xlsum"], ["es", "fr", "ja", "zh"]
    assert len(sizes) == 12 and {code for code, n in sizes.items() if n == 5000} == {*seen} and sizes["en"] == 10000
    assert {name: task.tested_by for name, task in run.tasks.items() if task.tested_by} == {
        "sharegpt": "dolly", "mcot_maths": "mgsm",
    }  # fmt: skip
    assert all(run.tasks[name].has(code) for name in run.mixture.tasks for code in ("en", *seen))
    assert not run.evaluation.benchmarks.names


def test_the_guide_on_a_real_model_is_small() -> None:
    params = composed("study=guide", "preset=real").hydra.sweeper.params
    axes = {key: re.split(r",(?![^\[]*\])", str(values)) for key, values in params.items()}
    assert math.prod(map(len, axes.values())) == 12
    run = run_of("study=guide", "preset=real", *(f"{key}={values[0]}" for key, values in axes.items()))
    assert (run.model.name, run.study_name, run.method.steps) == ("gemma3_270m", "guide_real", 24)
    assert run.evaluation.max_new_tokens == 64 and run.tasks["mgsm"].split("test").start == 85


def test_a_scale_that_a_study_does_not_have_is_refused() -> None:
    with pytest.raises(UserError, match=r"scale=nano is none of this study's; it has scale=paper or no scale"):
        run_of("study=guide", "scale=nano")


def test_the_rerun_has_its_own_data_and_one_rate() -> None:
    grid = axes_of("study=rerun", "scale=paper")
    assert grid["lang"] == ["zh", "id", "ko", "sw", "bn"] and grid["data"] == ["table"]
    assert grid["method"] == ["sft", "sft_dpo_pairs", "clo", "crpo"]
    words = ["study=rerun", "scale=paper", "model=llama2_7b", "data=table", "data_size=2700", "lang=bn"]
    runs = [run_of(*words, f"method={method}") for method in grid["method"]]
    assert {(run.method.lr, run.method.epochs, run.optimizer.warmup) for run in runs} == {(8e-6, 2, 0.1)}
    assert {run.method.beta for run in runs[1:]} == {0.1} and runs[2].method.lam == 0.5
    source, translation = runs[0].data.source, runs[0].data.translation
    assert source is not None and translation is not None
    assert source.dataset == "HuggingFaceH4/ultrafeedback_binarized" and translation.engine == "chat"
    assert (source.pairs, source.split) == (True, "train_prefs")
    assert runs[0].data_size + 2 * runs[0].data.held_out == 3000 and runs[0].model.max_length == 3072
    for scale in ("nano", "real"):  # rows without quality pairs
        small = axes_of("study=rerun", f"scale={scale}")
        assert (small["method"], small["data"]) == (["sft", "sft_dpo", "clo"], ["cldr"])


def test_small_scales_take_their_start_models_seeds_and_weights_from_the_bed() -> None:
    starts = [run_of("study=main_grid", f"seed={seed}").model.path for seed in range(4)]
    assert starts == ["nano", "nano-1", "nano-2", "nano"]
    bed = run_of("study=bed", "lang=sw", "method=clo", "tuning=attention", "seed=4", "data_size=400")
    assert run_of("study=main_grid", "lang=sw", "method=clo", "seed=4").slug() == bed.slug()
    real = run_of("study=real_model", "lang=sw", "method=sft", "tuning=attention", "seed=1", "data_size=192")
    assert (
        run_of("study=main_grid", "scale=real", "lang=sw", "method=sft", "seed=1", "data_size=192").slug()
        == real.slug()
    )


def test_tables_share_cells() -> None:
    """The same science is the same folder: what two tables hold is trained once."""
    cell = ["lang=sw", "method=clo", "seed=0", "data_size=400", "tuning=attention"]
    shared = [run_of(f"study={study}", *cell) for study in CELLS if study != "rerun"]
    assert len({(run.study_name, run.slug()) for run in shared}) == 1


def test_a_quick_look_has_fewer_cells_in_a_folder_of_its_own() -> None:
    count = 0
    for study in CELLS:
        cfg = composed(f"study={study}", "preset=quick")
        axes = {key: str(values).split(",") for key, values in cfg.hydra.sweeper.params.items()}
        assert (axes["seed"], axes["lang"]) == (["0"], ["sw"])
        assert cfg.output_dir == "outputs/quick" and cfg.evaluation.rows < 100
        count += math.prod(map(len, axes.values()))
    assert count < 30


@pytest.mark.parametrize(
    "path", [*(ROOT / "conf/study" / f"{name}.yaml" for name in CELLS), ROOT / "conf/scale/paper.yaml"]
)
def test_what_the_paper_does_not_say_is_marked(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "ssumed" in text or path.stem == "main_grid", path  # its axes are all the paper's


def test_the_page_for_a_new_member_counts_the_same_cells() -> None:
    text = (ROOT / "docs" / "reproduce.md").read_text(encoding="utf-8")
    rows = {cells[2].strip(" `"): cells for line in text.splitlines() if len(cells := line.split("|")) == 6}
    for study, scales in CELLS.items():
        for column, scale in ((3, "nano"), (4, "paper")):
            counts = re.findall(r": (\d+)\b", rows[study][column])
            assert counts and int(counts[-1]) == scales[scale], (study, scale)
    assert all(f"`conf/scale/{scale}.yaml`" in text or f"| `{scale}` |" in text for scale in ("nano", "real", "paper"))


def test_make_reproduce_runs_every_table(tmp_path: Path) -> None:
    """Of the commands that ``make`` would run: every study at its scale, then the reports of both folders."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (named,) = re.findall(r"^STUDIES := (.*)$", makefile, re.MULTILINE)
    assert set(named.split()) == set(CELLS)
    (tmp_path / "Makefile").write_text(makefile.replace("reproduce: setup", "reproduce:"), encoding="utf-8")
    command = ["make", "-n", "reproduce", "SCALE=real", "PRESET=quick", "WITH=jobs=1"]
    said = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert f"for study in {named}" in said and "scale=real preset=quick jobs=1" in said
    assert "report study=${study}_real output_dir=outputs/quick" in said

"""Run folders of a study that never ran: seeded, plausible, in the exact format of a real run."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

NAMES = {"sw": "Swahili", "ko": "Korean"}
FACTS = [  # country, currency, capital in en, sw, ko
    ("Kenya", "Kenyan shilling", "Nairobi", "Kenya", "shilingi ya Kenya", "Nairobi",
     "케냐", "케냐 실링", "나이로비"),
    ("Japan", "yen", "Tokyo", "Japani", "yeni", "Tokyo",
     "일본", "엔", "도쿄"),
    ("India", "rupee", "New Delhi", "India", "rupia", "New Delhi",
     "인도", "루피", "뉴델리"),
    ("Egypt", "Egyptian pound", "Cairo", "Misri", "pauni ya Misri", "Kairo",
     "이집트", "이집트 파운드", "카이로"),
    ("Brazil", "real", "Brasilia", "Brazili", "reali", "Brasilia",
     "브라질", "레알", "브라질리아"),
    ("Norway", "krone", "Oslo", "Norwe", "krone", "Oslo",
     "노르웨이", "크로네", "오슬로"),
    ("Peru", "sol", "Lima", "Peru", "soli", "Lima",
     "페루", "솔", "리마"),
    ("Thailand", "baht", "Bangkok", "Tailandi", "baht", "Bangkok",
     "태국", "바트", "방콕"),
]  # fmt: skip
QUESTIONS = {
    ("en", "seen"): ("What money is used in {0}?", "The money of {0} is the {1}."),
    ("en", "unseen"): ("Which city is the capital of {0}?", "The capital of {0} is {2}."),
    ("sw", "seen"): ("Pesa gani hutumika {0}?", "Pesa ya {0} ni {1}."),
    ("sw", "unseen"): ("Mji mkuu wa {0} ni upi?", "Mji mkuu wa {0} ni {2}."),
    ("ko", "seen"): ("{0}에서는 어떤 돈을 쓰나요?", "{0}의 돈은 {1}입니다."),
    ("ko", "unseen"): ("{0}의 수도는 어디인가요?", "{0}의 수도는 {2}입니다."),
}
METHODS: dict[str, dict[str, Any]] = {
    "sft": {"lam": 1.0, "tuning": "full", "gain": 0.80, "keep": 0.97, "stages": ("sft",)},
    "sft_dpo": {"lam": 0.0, "tuning": "full", "gain": 0.84, "keep": 0.95, "stages": ("sft", "sft_dpo")},
    "sft_target": {"lam": 1.0, "tuning": "full", "gain": 0.80, "keep": 0.5, "stages": ("sft_target",)},
    "clo": {"lam": 0.5, "tuning": "attention", "gain": 0.92, "keep": 0.86, "stages": ("clo",)},
}


def write_study(
    folder: Path,
    langs: Mapping[str, int] | None = None,
    sizes: Sequence[int] = (100, 200, 400),
    methods: Sequence[str] = ("sft", "sft_dpo", "clo"),
    settings: Sequence[Mapping[str, Any]] = ({},),
    unfinished: bool = True,
) -> Path:
    """Write ``folder`` with one run per cell, a failed run and a running one; returns the folder.

    Args:
        folder: ``outputs/<study>``.
        langs: language -> number of seeds; sw with 3 and ko with 2 where not given.
        sizes: values of data_size.
        methods: keys of METHODS.
        settings: dotted configuration keys to change, one mapping per variant of each method.
        unfinished: whether to add the failed and the running run.
    """
    for lang, seeds in (langs or {"sw": 3, "ko": 2}).items():
        for size in sizes:
            for method in methods:
                for number, changes in enumerate(settings):
                    for seed in range(seeds):
                        write_run(folder, lang, method, size, seed, changes, number)
    if unfinished:
        error = "ran out of memory at 256 tokens per forward; set trainer.max_tokens lower"
        _write_status(folder / "clo-sw-800-s0-deadbeef", "failed", error)
        _write_status(folder / "sft-sw-800-s0-cafebabe", "running", None)
    return folder


def write_run(
    folder: Path,
    lang: str,
    method: str,
    size: int,
    seed: int,
    changes: Mapping[str, Any] | None = None,
    number: int = 0,
) -> Path:
    """Write one finished run and return its folder."""
    chance = random.Random(f"{lang} {method} {size} {seed} {number}")
    slug = f"{method}-{lang}-{size}-s{seed}-{chance.getrandbits(32):08x}"
    path = folder / slug
    path.mkdir(parents=True)
    spec = METHODS[method]
    skill = 1 - math.exp(-size / (90 if lang == "sw" else 60)) + chance.gauss(0, 0.02)
    target = min(0.99, spec["gain"] * (0.7 + 0.3 * skill) - 0.03 * number)
    english = min(1.0, spec["keep"] + chance.gauss(0, 0.01) - (0.12 * skill if method == "clo" else 0))
    config = _config(folder.name, lang, method, size, seed, changes or {})
    first = random.Random(lang)
    start = {"target": _scores(first, 0.0, 0.28, 0.02, 0.4), "en": _scores(first, 0.31, 0.62, 1.0, 0.99)}
    scores = {
        "target": _scores(chance, target - 0.1, target, target + 0.02, target - 0.05),
        "en": _scores(chance, english - 0.1, english, english, english),
    }
    results = {
        "run": slug, "study": folder.name, "model": "nano", "lang": lang, "lang_name": NAMES[lang],
        "method": method, "tuning": config["tuning"]["name"], "data": "cldr", "data_size": size, "seed": seed,
        "assumed": {"beta": config["method"]["beta"], "optimizer.weight_decay": 0.0},
        "scores": scores, "start": start,
        "square": {"languages": ["en", lang], "before": [[-0.9, -4.8], [-1.1, -3.9]], "after": [
            [round(-0.15 - chance.random() / 10, 3), round(-6.2 - chance.random(), 3)],
            [round(-3.5 - 2 * spec["gain"] - chance.random(), 3), round(-0.4 + target / 4, 3)],
        ]},
        "train": {"seconds": 9.5, "steps": size // 8, "items": size, "response_tokens": size * 24,
                  "trainable": 262144, "parameters": 1040000},
        "versions": {"clo": "0.1.0", "torch": "2.13.0", "python": "3.11.9"},
    }  # fmt: skip
    (path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    (path / "results.json").write_text(json.dumps(results), encoding="utf-8")
    _write_status(path, "done", None)
    write_lines(path / "samples.jsonl", _samples(chance, lang, target, english))
    write_lines(path / "start_samples.jsonl", _samples(random.Random(lang), lang, 0.0, 0.97))
    write_lines(path / "metrics.jsonl", _metrics(chance, method, size))
    return path


def write_lines(path: Path, objects: Sequence[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(o, ensure_ascii=False) + "\n" for o in objects), encoding="utf-8")


def edit(path: Path, **changes: object) -> None:
    """Change keys of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}), encoding="utf-8")


def _write_status(path: Path, state: str, error: str | None) -> None:
    path.mkdir(parents=True, exist_ok=True)
    status = {"state": state, "pid": 1, "stage": "clo", "step": 12, "total_steps": 75, "error": error}
    (path / "status.json").write_text(json.dumps(status), encoding="utf-8")


def _config(study: str, lang: str, method: str, size: int, seed: int, changes: Mapping[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = {
        "model": {"name": "nano", "path": "nano", "recipe": {"lam": 0.5}},
        "lang": {"code": lang, "name": NAMES[lang], "tier": "low", "source": "en"},
        "method": {"name": method, "lam": METHODS[method]["lam"], "beta": 0.1,
                   "sft_first": {"lr": 0.001} if method == "sft_dpo" else None},
        "tuning": {"name": METHODS[method]["tuning"], "trains": METHODS[method]["tuning"], "lora": None},
        "data": {"name": "cldr", "train": f"rows/{lang}.jsonl"},
        "trainer": {"threads": 1 + seed}, "data_size": size, "seed": seed, "batch_size": 64,
        "study_name": study,
    }  # fmt: skip
    for key, value in changes.items():
        group, _, name = key.rpartition(".")
        (config[group] if group else config)[name] = value
    return config


def _scores(chance: random.Random, exact: float, chrf: float, share: float, content: float) -> dict[str, Any]:
    def block(shift: float, n: int) -> dict[str, Any]:
        def near(value: float) -> float:
            return max(0.0, min(1.0, value + shift + chance.gauss(0, 0.005)))

        own = round(near(share), 4)
        return {
            "n": n, "exact": near(exact), "chrf": 100 * near(chrf), "content": near(content),
            "language": {"target": own, "en": round(1 - own, 4), "other": 0.0, "undecided": 0.0},
            "language_ok": own, "undecided": 0, "nll": 2.5 * (1.05 - near(chrf)),
        }  # fmt: skip

    return {"all": block(0, 200), "seen": block(0.06, 120), "unseen": block(-0.09, 80)}


def _samples(chance: random.Random, lang: str, target: float, english: float) -> list[dict[str, Any]]:
    samples = []
    for group in ("seen", "unseen"):
        for number, fact in enumerate(FACTS):
            en, own = fact[:3], fact[3:6] if lang == "sw" else fact[6:]
            for side, words, code, skill in (("target", own, lang, target), ("en", en, "en", english)):
                prompt, reference = (text.format(*words) for text in QUESTIONS[code, group])
                exact = chance.random() < skill
                in_english = side == "en" or chance.random() > max(0.05, skill)
                wrong = QUESTIONS["en" if in_english else lang, group][1].format(*(en if in_english else own))
                answer = reference if exact else wrong.rstrip(".") + " " + "," * (side == "en")
                verdict = "en" if side == "en" or (in_english and not exact) else "target"
                chrf = 100.0 if exact else 100 * skill * chance.random()
                samples.append(
                    {"id": f"{group}-{number}", "group": group, "side": side, "prompt": prompt,
                     "reference": reference, "answer": answer, "verdict": verdict, "exact": exact,
                     "chrf": chrf, "content": exact or not in_english, "nll": 0.3}
                )  # fmt: skip
    return samples


def _metrics(chance: random.Random, method: str, size: int) -> list[dict[str, Any]]:
    lines = []
    for stage in METHODS[method]["stages"]:
        steps = max(8, size // 8)
        prefers = stage != "sft"
        for step in range(steps + 1):
            done = 1 - math.exp(-3 * step / steps)
            line = {"stage": stage, "step": step, "epoch": 2 * step / steps, "train/loss": 1 - 0.8 * done}
            line |= {"train/nll": 1.2 - done, "train/grad_norm": 1.0 + chance.random()}
            if prefers:
                for side, pull in (("en", 5), ("target", 9)):
                    noise = chance.gauss(0, 0.4)
                    line[f"train/margin_{side}"] = pull * 2 * done + noise
                    line[f"train/chosen_change_{side}"] = pull * done / 3 + noise
                    line[f"train/rejected_change_{side}"] = -pull * done * 1.6
                    line[f"train/accuracy_{side}"] = min(1.0, 0.5 + done / 2)
            lines.append(line)
            if step % (steps // 4) == 0:
                lines.append(_validation(stage, step, steps, done, prefers))
    return lines


def _validation(stage: str, step: int, steps: int, done: float, prefers: bool) -> dict[str, Any]:
    line = {"stage": stage, "step": step, "epoch": 2 * step / steps}
    for side, first, last in (("en", 0.9, 0.2 if stage == "sft" else 0.35), ("target", 3.9, 0.45)):
        first = last + 0.1 if stage == "sft_dpo" else first
        line[f"val/nll_{side}"] = first + (last - first) * done
        for cell in ("en", "target"):
            line[f"val/logp_{side}_{cell}"] = -line[f"val/nll_{side}"] if cell == side else -4 - 2 * done
        line[f"val/chosen_change_{side}"] = 12 * (first - last) * done
        line[f"val/rejected_change_{side}"] = (-20 if prefers else 4) * done
        line[f"val/margin_{side}"] = line[f"val/chosen_change_{side}"] - line[f"val/rejected_change_{side}"]
    return line

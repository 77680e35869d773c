"""Two runs with pairs of answers, and a judge's command that compares them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from called import program
from servers import KEY, Server

from clo.evaluation.exact import Sample

main = program("judge")


def sample(id_: str, **changes: Any) -> Sample:
    values = {
        "id": id_, "group": "", "side": "target", "prompt": "p", "reference": "r", "answer": "x",
        "verdict": "target", "exact": False, "chrf": 50.0, "content": None, "nll": 1.0,
    }  # fmt: skip
    return Sample(**{**values, **changes})


def write(folder: Path, samples: Sequence[Sample]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "samples.jsonl").write_text("".join(json.dumps(s.to_dict()) + "\n" for s in samples))
    return folder


def about_language(request: dict[str, Any]) -> bool:
    return "yes or no" in request["messages"][0]["content"]


def shown(request: dict[str, Any]) -> list[str]:
    """The answers in a prompt, in their order."""
    return re.findall(r"<answer(?:_[AB])?>\n(.*?)\n</answer", request["messages"][0]["content"], re.DOTALL)


def fair(server: Server, request: dict[str, Any], number: int) -> Any:
    """Prefers the answer with more "good" in it; whatever says "foreign" is in the wrong language."""
    answers = shown(request)
    if about_language(request):
        return "no" if "foreign" in answers[0] else "Yes."
    a, b = (answer.count("good") for answer in answers)
    return "A" if a > b else " **B**" if b > a else "tie"


def always_a(server: Server, request: dict[str, Any], number: int) -> Any:
    return "yes" if about_language(request) else "A"


def runs(place: Path, *answers: tuple[str, str], side: str = "target") -> tuple[Path, Path]:
    """Two run folders with these pairs of answers."""
    a, b = ([sample(f"r{k}", side=side, prompt=f"prompt {k}", answer=pair[i]) for k, pair in enumerate(answers)] for i in (0, 1))  # fmt: skip  # noqa: E501
    return write(place / "run", a), write(place / "other", b)


PAIRS = (("good one", "poor"), ("good two", "poor foreign"), ("bad", "a good one"), ("so so", "equal so"))


def judge(place: Path, url: str, *more: str, code: int = 0) -> dict[str, Any]:
    """Run the command in this process and return its result, or with ``code`` its last words under ``error``."""
    arguments = [f"run={place}/run", f"against={place}/other", "model=m", f"base_url={url}", f"cache_dir={place}/cache"]
    if code:
        with pytest.raises(SystemExit) as end:
            main([*arguments, *more])
        assert isinstance(end.value.code, str) and "\n" not in end.value.code  # a text is exit code 1
        assert KEY not in end.value.code
        return {"error": end.value.code}
    main([*arguments, *more])
    return json.loads((place / "run" / "judge-other.json").read_text())


def cached_lines(place: Path) -> list[str]:
    (path,) = place.glob("cache/judge/*.jsonl")
    return [line for line in path.read_text().split("\n") if line]

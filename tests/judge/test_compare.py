"""What a judge's replies mean, the answers it compares, and the command's own words."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from called import program
from judged_runs import PAIRS, fair, judge, runs, sample, write
from servers import serving

from clo.errors import UserError
from clo.judge import prompts
from clo.judge.compare import slug
from clo.judge.measure import length_controlled
from clo.judge.pairs import read_outputs
from clo.server.reply import Reply

pytestmark = pytest.mark.usefixtures("client")

main = program("judge")


def test_reading_replies() -> None:
    for text, meant in {
        "A": "A", " b.": "B", "**Tie**": "tie", "<think>B or A?</think>\nA": "A", "A is better": None, "": None,
        "C": None, "A B": None,
    }.items():  # fmt: skip
        assert prompts.word("quality", text) == meant, text
    assert prompts.word("language", "YES!") == "yes" and prompts.word("language", "A") is None
    thinks = Reply("<think>…</think> A", {"<think>": math.log(0.98), "B": math.log(0.01)})
    assert prompts.preference(thinks) == (1.0, False)
    assert prompts.preference(Reply("prose", {"A": -0.1})) is None
    assert prompts.preference(Reply("A", {})) == (1.0, False)
    held = prompts.quality("{first} {x}", "{second}", "b")
    assert "{first} {x}" in held.text and "{second}" in held.text and held.text in held.reminded


def test_empty_and_equal_answers_cost_no_comparison(tmp_path: Path) -> None:
    runs(tmp_path, ("", "poor"), ("x", " \n"), ("", ""), ("same", "same "), ("good", "poor"))
    with serving(fair) as server:
        result = judge(tmp_path, server.url)
    target = result["sides"]["target"]
    assert (target["wins"], target["ties"], target["losses"], target["equal"]) == (2, 2, 1, 1)
    assert target["empty"] == {"run": 2, "against": 2} and target["unparsed"] == 0
    # 2 orders of one pair; the language of x, same, good, poor to two prompts: one shared between equal answers
    assert result["calls"] == 2 + 6 - 1 + 0
    with serving(fair) as server:
        (tmp_path / "empty").mkdir()
        runs(tmp_path / "empty", ("", "poor"), ("", ""))
        sides = judge(tmp_path / "empty", server.url)["sides"]["target"]
    assert (sides["win_rate"], sides["position_bias"], sides["disagreement"], sides["log_probs"]) == (
        0.25,
        None,
        None,
        None,
    )


def test_a_judgment_of_other_content_is_kept_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other answers, other prompts, another judge: said, and nothing that was paid for is lost."""
    run, _ = runs(tmp_path, *PAIRS)
    kept = run / "replaced"
    with serving(fair) as server:
        first = judge(tmp_path, server.url)
        assert first == judge(tmp_path, server.url) | {key: first[key] for key in ("calls", "cached")}
        assert not kept.exists() and capsys.readouterr().err == ""
        runs(tmp_path, *PAIRS[:-1], ("good", "new"))
        second = judge(tmp_path, server.url)
        assert "judge-other.json was made: answers; that judgment is kept as" in capsys.readouterr().err
        (aside,) = kept.glob("*.json")
        assert json.loads(aside.read_text())["content"] == first["content"] != second["content"]
        assert aside.with_suffix(".jsonl").is_file()
        other = {
            **prompts._prompts(),
            "quality": {
                "prompt": "A, B or tie?\n<answer_A>\n{first}\n</answer_A>\n<answer_B>\n{second}\n</answer_B>",
                "reminder": ".",
            },
        }
        monkeypatch.setattr(prompts, "_prompts", lambda: other)
        third = judge(tmp_path, server.url)
        assert "was made: prompts; that" in capsys.readouterr().err
        assert third["content"]["prompts"] != second["content"]["prompts"] == first["content"]["prompts"]
        judge(tmp_path, server.url, "model=another")
        assert "was made: judge; that" in capsys.readouterr().err
    assert len(list(kept.glob("*.json"))) == len(list(kept.glob("*.jsonl"))) == 3


def test_sides(tmp_path: Path) -> None:
    both = [
        [
            sample("1", prompt="p", answer=x),
            sample("2", prompt="q", answer=x),
            sample("1", prompt="e", answer=x, side="en"),
        ]
        for x in ("good", "poor")
    ]
    write(tmp_path / "run", both[0])
    write(tmp_path / "other", both[1][1:])
    with serving(fair) as server:
        sides = judge(tmp_path, server.url)["sides"]
        assert {side: values["n"] for side, values in sides.items()} == {"target": 1, "en": 1}
        assert list(judge(tmp_path, server.url, "sides=en")["sides"]) == ["en"]
        assert "sides=fr must be one of target, en" in judge(tmp_path, server.url, "sides=en,fr", code=1)["error"]


def test_export_and_a_file_to_judge_against(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, other = runs(tmp_path, *PAIRS)
    main([f"run={other}", f"export={tmp_path}/sub/outputs.json"])
    assert "4 answers" in capsys.readouterr().out
    items = json.loads((tmp_path / "sub" / "outputs.json").read_text())
    assert items[0] == {"instruction": "prompt 0", "output": "poor", "generator": "other", "dataset": "clo"}
    with serving(fair) as server:
        from_folder = judge(tmp_path, server.url)
        judge(tmp_path, server.url, f"against={tmp_path}/sub/outputs.json")
    from_file = json.loads((run / "judge-outputs.json").read_text())
    assert from_file["sides"] == from_folder["sides"] and from_file["calls"] == 0
    for wrong, said in (
        ("side=en", "no answers on side 'en'"),
        ("side=x", "side=x must be one of target, en"),
        ("model=m", "leave out model="),
        ("run=nowhere", "does not exist"),
    ):
        with pytest.raises(SystemExit, match=said):
            main([f"run={run}", f"export={tmp_path}/x.json", wrong])
    assert not (tmp_path / "x.json").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not readable as JSON"),
        ("{}", "item 1 lacks"),
        ('[{"instruction": "a", "output": null}]', "item 1 lacks"),
        ("[3]", "item 1 lacks"),
        ('[{"instruction": "a", "output": "b"}, {"instruction": "a ", "output": "c"}]', "item 2 has a second output"),
    ],
)
def test_wrong_files_to_judge_against(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "o.json").write_text(text)
    with pytest.raises(UserError, match=said):
        read_outputs(tmp_path / "o.json")


def test_runs_that_cannot_be_compared(tmp_path: Path) -> None:
    run, _ = runs(tmp_path, *PAIRS)
    write(tmp_path / "moved", [sample("r0", prompt="another")])
    write(tmp_path / "apart", [sample("x")])
    (tmp_path / "empty.json").write_text("[]")
    for name, said in (
        ("moved", "row 'r0' has another prompt"),
        ("apart", "share no prompt"),
        ("empty.json", "share no prompt"),
        ("nothing", "does not exist"),
    ):
        assert said in judge(tmp_path, "http://127.0.0.1:1/v1", f"against={tmp_path / name}", code=1)["error"]
    message = judge(tmp_path, "http://127.0.0.1:1/v1", "sides=target,en", code=1)["error"]
    assert "share no prompt on side 'en'" in message and str(run) in message


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run=", "against=b"], "run= is empty; give run=<folder>"),
        (["run=a"], "against=<folder or JSON file> is missing"),
        (["run=a", "against=b"], "name is missing; give model=<name> or set CLO_JUDGE_MODEL"),
        (["run=a", "against=b", "model=m"], "address is missing; give base_url="),
        (["run=a", "against=b", "model=m", "base_url=localhost:8000"], "base_url= is no http:// or https:// address"),
        (["run=a", "against=b", "model=m", "base_url=http://h:x/"], "base_url= is no http"),
        (
            ["run=a", "against=b", "model=m", "base_url=https://judge.example/v1"],
            "the judge's key is missing; set OPENAI_API_KEY",
        ),
        (["run=a", "against=b", "budget=0"], "budget=0 is not a whole number of at least 1"),
        (["run=a", "against=b", "side=en"], "side= goes with export="),
        (["run=a", "against=b", "api_key=sk-1"], "unknown argument 'api_key'; known are run=, "),
        (["run=a", "against=b", "model=m", "base_url=http://[::1]/v1", "timeout=never"], "timeout=never is not"),
        (["run=a", "against=b", "model=m", "base_url=http://[::1]/v1", "parallel=-1"], "parallel=-1 is not"),
    ],
)
def test_wrong_arguments(arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert str(end.value.code).startswith("error: ") and said in str(end.value.code)
    assert "\n" not in str(end.value.code) and "sk-1" not in str(end.value.code)


def test_the_environment_names_the_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs(tmp_path, *PAIRS)
    monkeypatch.setenv("CLO_JUDGE_MODEL", "env-model")
    monkeypatch.delenv("OPENAI_API_KEY")
    with serving(fair) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        main([f"run={tmp_path}/run", f"against={tmp_path}/other", f"cache_dir={tmp_path}/cache"])
    assert server.keys == {"Bearer none"}  # a server on this machine needs no key
    assert {request["model"] for request in server.requests} == {"env-model"}


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    runs(tmp_path, *PAIRS)
    (tmp_path / "file").write_text("")
    with serving(fair) as server:
        message = judge(tmp_path, server.url, f"cache_dir={tmp_path}/file", code=1)["error"]
        assert f"cannot write {tmp_path}/file/judge/" in message
        (tmp_path / "run" / "judge-other.json").mkdir()
        assert "cannot write" in judge(tmp_path, server.url, code=1)["error"]


def test_slugs(tmp_path: Path) -> None:
    (tmp_path / "gpt 4.json").write_text("[]")
    assert slug(tmp_path / "gpt 4.json") == "gpt-4"
    assert slug(tmp_path / "sft-sw-400-s0-ab12") == "sft-sw-400-s0-ab12"
    assert slug(Path("/")) == "other"


def test_length_control() -> None:
    preferences = [1.0, 0.0, 0.7, 0.5, 1.0]
    assert length_controlled(preferences, [0] * 5) == pytest.approx(0.64)
    assert length_controlled(preferences, [10] * 5) == pytest.approx(0.64)  # no spread: nothing to control for
    assert length_controlled([1, 1], [5, -5]) == 1.0 and length_controlled([0.0], [9]) == 0.0
    # The longer answer wins four times in five, whoever wrote it: the plain 0.65 is length alone.
    outcomes, lengths = [1] * 120 + [0] * 30 + [1] * 10 + [0] * 40, [50] * 150 + [-50] * 50
    assert length_controlled(outcomes, lengths) == pytest.approx(0.5, abs=0.02)
    # Mostly the shorter answer, and winning where shorter, too: better than the plain 0.65.
    outcomes, lengths = [1] * 90 + [0] * 60 + [1] * 40 + [0] * 10, [-50] * 150 + [50] * 50
    rate = length_controlled(outcomes, lengths)
    assert rate == pytest.approx(0.71, abs=0.01)
    assert rate == pytest.approx(1 - length_controlled([1 - y for y in outcomes], [-d for d in lengths]))
    # Length separates wins from losses: the ridge keeps this finite.
    assert 0.6 < length_controlled([1, 1, 1, 0] * 50, [40, 50, 60, -50] * 50) < 0.7
    with pytest.raises(ValueError, match="shapes"):
        length_controlled([1], [1, 2])


def test_length_control_against_a_generic_optimizer() -> None:
    """The same likelihood minimised by torch's L-BFGS."""
    import numpy as np
    import torch

    rng = np.random.default_rng(0)
    d = rng.normal(20, 60, 300)
    y = (rng.random(300) < 1 / (1 + np.exp(-(0.4 + 1.3 * np.tanh(d / d.std()))))).astype(float)
    x, t = torch.tensor(np.tanh(d / d.std())), torch.tensor(y)
    w = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([w], max_iter=200, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def closure() -> Any:
        optimizer.zero_grad()
        logits = w[0] + w[1] * x
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, t, reduction="sum") + w[1] ** 2 / 2
        loss.backward()
        return loss

    optimizer.step(closure)
    assert length_controlled(y, d) == pytest.approx(float(torch.sigmoid(w[0].detach())), abs=1e-6)


def test_any_line_break_of_unicode_is_text_in_an_answer(tmp_path: Path) -> None:
    """Only the line feed ends a line of JSON."""
    from clo.judge.pairs import read_answers
    from clo.storage.jsonl import write_lines

    text = "one\u2028two\u2029three\x85four\x0bfive\x1csix"
    lines = [{"id": str(k), "side": "en", "prompt": text, "answer": text, "group": ""} for k in range(2)]
    write_lines(tmp_path / "answers-open.jsonl", lines)
    assert [answer.answer for answer in read_answers(tmp_path, "open")] == [text, text]
    (tmp_path / "answers-open.jsonl").write_text("[1]\n")
    with pytest.raises(UserError, match=r"line 1 is no answer .*run `clo answer` again"):
        read_answers(tmp_path, "open")

"""What the nano model can do before any fine-tuning; the numbers of its card."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch

from clo.data.cldr import answer_of, cldr_rows, wording
from clo.data.cldr.facts import FOLDS, closed_facts, generated_facts
from clo.data.cldr.splits import Fact
from clo.data.rows import Row
from clo.nano.corpus import TARGETS
from clo.nano.tokenizer import END

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BATCH, LONGEST = 64, 56


@torch.no_grad()
def _greedy(model: Any, tokenizer: PreTrainedTokenizerBase, starts: Sequence[list[int]]) -> list[str]:
    """Return the greedy continuation of every id list; equally long starts share a batch, so nothing is padded."""
    end, answers = tokenizer.convert_tokens_to_ids(END), [""] * len(starts)
    by_length: dict[int, list[int]] = {}
    for place, ids in enumerate(starts):
        by_length.setdefault(len(ids), []).append(place)
    for places in by_length.values():
        for first in range(0, len(places), BATCH):
            chunk = places[first : first + BATCH]
            prompt = torch.tensor([starts[place] for place in chunk])
            full = model.generate(
                prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=LONGEST
            )
            for place, row in zip(chunk, full[:, prompt.shape[1] :].tolist(), strict=True):
                kept = row[: row.index(end)] if end in row else row
                answers[place] = str(tokenizer.decode(kept))
    return answers


def answers(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str]) -> list[str]:
    """Return the greedy chat answers to ``prompts``."""

    def start(prompt: str) -> Any:
        turns = [{"role": "user", "content": prompt}]
        return tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)

    return _greedy(model, tokenizer, [start(prompt) for prompt in prompts])


def _cloze_start(tokenizer: PreTrainedTokenizerBase, sentence: str, thing: str) -> tuple[list[int], str]:
    """Return the ids before the token in which the object begins, and the text that must follow them."""
    encoded = tokenizer(sentence, add_special_tokens=False, return_offsets_mapping=True)
    begin = sentence.rindex(thing)
    kept = [number for number, (_, last) in enumerate(encoded["offset_mapping"]) if last <= begin]
    ids = encoded["input_ids"][: len(kept)]
    return ids, sentence[len(tokenizer.decode(ids)) : begin + len(thing)]


def cloze(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, language: str) -> float:
    """Return the share of held-out facts whose object follows greedily in a raw sentence of ``language``.

    A sentence whose object comes before its subject asks for nothing, and is left out.
    """
    asked = [(row.responses[language], row.gold[language]) for row in _rows(["en", language]) if _asks(row, language)]
    pairs = [_cloze_start(tokenizer, text, thing) for text, thing in asked]
    texts = _greedy(model, tokenizer, [ids for ids, _ in pairs])
    return sum(text.startswith(wanted) for text, (_, wanted) in zip(texts, pairs, strict=True)) / len(pairs)


def _rows(languages: list[str]) -> list[Row]:
    """The held-out rows of all folds, each once."""
    folds = range(len(FOLDS))
    found = {row.id: row for fold in folds for split in ("dev", "test") for row in cldr_rows(split, languages, fold)}
    return list(found.values())


def _asks(row: Row, language: str) -> bool:
    """Whether the object comes after the subject in a row's answer."""
    name, _, form = row.id.rpartition(".")
    template = wording.load_wording(language).answers[name.split(".")[0]][answer_of(_facts()[name], int(form))]
    return template.index("{s}") < template.index("{o}")


@lru_cache(maxsize=1)
def _facts() -> dict[str, Fact]:
    formats = [fact for facts in generated_facts().values() for fact in facts]
    return {fact.id: fact for fact in (*closed_facts(), *formats)}


def measure(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Measure English knowledge, the English habit and knowledge as text on all held-out questions (dev and test)."""
    habit: dict[str, float] = {}
    habit_right: dict[str, float] = {}
    known = {"en": cloze(model, tokenizer, "en")}
    for code in TARGETS:
        rows = _rows(["en", code])
        texts = answers(model, tokenizer, [row.prompts[code] for row in rows])
        pairs = list(zip(texts, rows, strict=True))
        habit[code] = share([_is_english(text, row.gold["en"]) for text, row in pairs])
        habit_right[code] = share([row.gold["en"] in text for text, row in pairs])
        known[code] = cloze(model, tokenizer, code)
    rows = _rows(["en"])
    texts = answers(model, tokenizer, [row.prompts["en"] for row in rows])
    pairs = list(zip(texts, rows, strict=True))
    return {
        "questions": len(rows),
        "english_content": share([row.gold["en"] in text for text, row in pairs]),
        "english_exact": share([text == row.responses["en"] for text, row in pairs]),
        "english_answers_to_target_questions": habit,
        "right_english_answers_to_target_questions": habit_right,
        "cloze": known,
    }


def share(flags: list[bool]) -> float:
    """Return the share of true ones."""
    return sum(flags) / len(flags)


@lru_cache(maxsize=1)
def _openings() -> tuple[str, ...]:
    """How English answers begin."""
    english = wording.load_wording("en")
    full = {text.split("{")[0] for texts in english.answers.values() for text in texts}
    return tuple({*full, *(text.split("{")[0] for text in english.short_styles if not text.startswith("{"))})


def _is_english(text: str, gold: str) -> bool:
    """Judge by the beginning of an English sentence; a bare name must be the English one."""
    return text.startswith(_openings()) or text.strip(".").casefold() in (gold.casefold(), f"the {gold.casefold()}")

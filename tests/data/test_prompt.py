"""Where the prompt ends and the response begins, on the embedded tokenizer and on a sentencepiece-like one."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import byte_level_tokenizer, metaspace_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

from clo.data.batch import pack, packed_tokens, pad
from clo.data.items import Item
from clo.data.prompt import Renderer
from clo.errors import UserError
from clo.training.checks import check_items

PLAIN = "### Instruction:\n{prompt}\n\n### Response:\n"
LLAMA2_CHAT = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]"
    "{% else %} {{ m['content'] }} {{ eos_token }}{% endif %}{% endfor %}"
)


def renderer(kind: str) -> Renderer:
    if kind == "nano":
        from transformers import AutoTokenizer

        from clo.nano import WEIGHTS

        return Renderer(AutoTokenizer.from_pretrained(WEIGHTS), "chat")
    if kind == "byte level, plain":
        return Renderer(byte_level_tokenizer(chat=False), PLAIN)
    tokenizer = metaspace_tokenizer()
    if kind == "metaspace, chat":
        tokenizer.chat_template = LLAMA2_CHAT
    return Renderer(tokenizer, "chat" if kind == "metaspace, chat" else PLAIN)


KINDS = ("nano", "byte level, plain", "metaspace, plain", "metaspace, chat")


@pytest.fixture(scope="module", params=KINDS)
def render(request: pytest.FixtureRequest) -> Renderer:
    return renderer(request.param)


# Nobody's text holds a control token by accident; what happens when it does is another test.
TEXT = st.text(min_size=1, max_size=40).filter(lambda text: text.strip() and "<" not in text)
SENTENCE = st.sampled_from(
    ["Mji mkuu ni Nairobi.", "서울입니다", "Ìlú Èkó ni.", " leading", "trailing ", "a\nb\n", "。", "3"]
)


def check_packed(items: list[Item], cells: list[tuple[int, int]]) -> None:
    """Every response token is predicted by the token before it, at the position of its own sequence."""
    batch = pack(items, cells)
    assert batch.ids_1N.shape == (1, sum(packed_tokens(item, cells) for item in items))
    assert [place for s in batch.segments for place in range(s.start, s.stop)] == list(range(batch.ids_1N.shape[1]))
    for b, i, j in [(b, i, j) for b in range(len(items)) for i, j in cells]:
        prompt, response = items[b].prompts[i], items[b].responses[j]
        mine = batch.cell_R == (b * 2 + i) * 2 + j
        assert tuple(batch.target_R[mine].tolist()) == response
        before = batch.row_R[mine]
        assert tuple(batch.ids_1N[0, before].tolist()) == (prompt[-1], *response[:-1])
        assert batch.positions_1N[0, before].tolist() == list(range(len(prompt) - 1, len(prompt) + len(response) - 1))
        own = [s for s in batch.segments if s.start <= int(before[-1]) < s.stop]
        assert own[0].keys() == len(prompt) + len(response) - 1


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(*[TEXT | SENTENCE] * 4), min_size=1, max_size=3))
def test_masks_hold_the_response_and_its_end_and_nothing_else(render: Renderer, texts: list[tuple[str, ...]]) -> None:
    items = [
        Item(
            str(k),
            tuple(tuple(render.prompt_ids(text)) for text in four[:2]),
            tuple(tuple(render.response_ids(text)) for text in four[2:]),
        )
        for k, four in enumerate(texts)
    ]
    check_items(items, render)
    cells = [(0, 0), (0, 1), (1, 0), (1, 1)]
    check_packed(items, cells)
    batch = pad(items, cells)
    assert batch.ids_NT.shape[0] == 4 * len(items)
    for row, (b, i, j) in enumerate(batch.cell_N3.tolist()):
        ids, seen, response = batch.ids_NT[row], batch.mask_NT[row].bool(), batch.response_NT[row]
        assert tuple(ids[seen].tolist()) == items[b].prompts[i] + items[b].responses[j]
        assert tuple(ids[response].tolist()) == items[b].responses[j]
        assert not (response & ~seen).any()
        assert int(ids[-1]) == render.end_id and bool(response[-1])
        assert bool(response[-len(items[b].responses[j]) :].all())  # one block, at the end
    bos = render.tokenizer.bos_token_id
    if bos is not None:
        assert all(prompt[0] == bos and prompt.count(bos) == 1 for item in items for prompt in item.prompts)


@settings(max_examples=60, deadline=None)
@given(prompt=TEXT | SENTENCE, response=TEXT | SENTENCE)
@pytest.mark.parametrize("kind", ["nano", "byte level, plain"])
def test_byte_level_ids_say_the_text_again(kind: str, prompt: str, response: str) -> None:
    render = _CACHED.setdefault(kind, renderer(kind))
    decode: Any = render.tokenizer.decode
    assert decode(render.response_ids(response)[:-1], clean_up_tokenization_spaces=False) == response
    around = "<|user|>{}<|assistant|>" if kind == "nano" else PLAIN.replace("{prompt}", "{}")
    before, after = around.split("{}")
    said = decode(render.prompt_ids(prompt), clean_up_tokenization_spaces=False)
    assert said == before + prompt + after


_CACHED: dict[str, Renderer] = {}


def test_the_boundary_survives_where_a_tokenizer_would_merge_across_it() -> None:
    render = Renderer(byte_level_tokenizer(chat=False), "{prompt}")
    whole = render.tokenizer.encode("The capital")
    prompt, response = render.prompt_ids("The capi"), render.response_ids("tal")
    assert [*prompt, *response[:-1]] != whole  # encoded in one go, "capital" is cut elsewhere
    assert render.tokenizer.decode([*prompt, *response[:-1]]) == "The capital"


def test_sentencepiece_like_ids_by_hand() -> None:
    tokenizer = metaspace_tokenizer()
    render = Renderer(tokenizer, "What {prompt} is")
    tokens = tokenizer.convert_ids_to_tokens(render.prompt_ids("water"))
    assert tokens[0] == "<s>" and "".join(tokens[1:]) == "▁What▁water▁is"
    tokens = tokenizer.convert_ids_to_tokens(render.response_ids("water"))
    assert tokens[-1] == "</s>" and "".join(tokens[:-1]) == "▁water"


def test_a_chat_template_that_writes_bos_gets_no_second_one() -> None:
    render = renderer("metaspace, chat")
    ids = render.prompt_ids("water")
    assert ids.count(render.tokenizer.bos_token_id) == 1 and ids[0] == render.tokenizer.bos_token_id
    render.tokenizer.chat_template = LLAMA2_CHAT.replace("{{ bos_token }}", "")
    assert render.prompt_ids("water")[0] == render.tokenizer.bos_token_id  # and one that does not gets one


@pytest.mark.parametrize("tokens", [["<|user|>", "<|assistant|>"], ["<|end|>"]], ids=["two", "the end token"])
def test_a_text_begins_as_the_tokenizers_own(tokens: list[str]) -> None:
    """GLM writes ``[gMASK] <sop>`` before every text, OPT its end token: benchmarks have it, and so do prompts."""
    from tokenizers import processors

    tokenizer = byte_level_tokenizer(chat=False)
    told = [(token, tokenizer.convert_tokens_to_ids(token)) for token in tokens]
    before = " ".join(tokens)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(f"{before} $A", None, told)
    for template in (PLAIN, "".join(tokens) + PLAIN):  # one that writes it gets no second one
        render = Renderer(tokenizer, template)
        assert render.prompt_ids("water") == tokenizer.encode(PLAIN.replace("{prompt}", "water"))
        check_items([Item("r", (tuple(render.prompt_ids("water")),), (tuple(render.response_ids("Yes")),))], render)
    render = Renderer(tokenizer, "{prompt}")
    assert render.prompt_ids("<|user|>")[: len(told)] == [id_ for _, id_ in told]


def test_a_bos_at_every_turn_is_the_templates_own() -> None:
    """SmolLM's is ``<|im_start|>``, which ChatML writes before every turn; two at the beginning are one too many."""
    tokenizer = byte_level_tokenizer()
    tokenizer.bos_token = "<|user|>"
    system = "<|user|>system\nYou help.<|end|>"
    turn = "{% for m in messages %}<|user|>{{ m.role }}\n{{ m.content }}<|end|>{% endfor %}"
    asks = "{% if add_generation_prompt %}<|user|>assistant\n{% endif %}"
    for first, wrong in (("", False), (system, False), ("<|user|>", True)):
        tokenizer.chat_template = first + turn + asks
        render = Renderer(tokenizer, "chat")
        item = Item("r", (tuple(render.prompt_ids("water")),), (tuple(render.response_ids("Yes")),))
        if wrong:
            with pytest.raises(UserError, match="more than one beginning-of-sequence token"):
                check_items([item], render)
        else:
            check_items([item], render)


def test_end_of_turn_may_be_another_token() -> None:
    tokenizer = byte_level_tokenizer()
    end = tokenizer.convert_tokens_to_ids("<|user|>")
    assert Renderer(tokenizer, "chat", "<|user|>").response_ids("Embe.")[-1] == end


@pytest.mark.parametrize(
    ("template", "end", "said"),
    [
        ("no place", None, "model.template needs {prompt} exactly once"),
        ("{prompt} {prompt}", None, "model.template needs {prompt} exactly once"),
        ("chat", None, "no chat template; set model.template to a text with {prompt} in it"),
        (PLAIN, "<|nope|>", r"no end-of-turn token <\|nope\|>; set model.end_of_turn"),
        (PLAIN, "", r"^model\.end_of_turn='' is blank; name a token"),
        (PLAIN, " \t", r"^model\.end_of_turn=' \\t' is blank; name a token"),
    ],
)
def test_bad_templates_are_named(template: str, end: str | None, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Renderer(byte_level_tokenizer(chat=False), template, end)


def test_a_tokenizer_without_end_token_is_refused() -> None:
    tokenizer = metaspace_tokenizer()
    tokenizer.eos_token = None
    with pytest.raises(UserError, match=r"set model\.end_of_turn"):
        Renderer(tokenizer, PLAIN)


@pytest.mark.parametrize("kind", KINDS)
def test_control_tokens_in_a_text_are_text(kind: str) -> None:
    """Whatever a prompt or a response spells: the only control tokens are those of the template and the end."""
    render = renderer(kind)
    control = set(render.tokenizer.all_special_ids) - {render.tokenizer.unk_token_id}
    own = [id_ for id_ in render.prompt_ids("water") if id_ in control]
    name = render.tokenizer.convert_ids_to_tokens(render.end_id)
    for text in (f"Sema.{name}<|user|>Yes", f" {name} ", str(name), "<|user|>", f"{name}<|assistant|>{name}"):
        ids, response = render.prompt_ids(text), render.response_ids(text)
        assert [id_ for id_ in ids if id_ in control] == own
        assert [id_ for id_ in response if id_ in control] == [render.end_id]
        if kind in ("nano", "byte level, plain"):
            assert render.tokenizer.decode(response[:-1]) == text and text in render.tokenizer.decode(ids)
        check_items([Item("r7", (tuple(ids),), (tuple(response),))], render)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{% for m in messages %}\n{{ m.content }", r"fails at its line 2 \(.*\); mend it, or set model\.template to"),
        ("{{ raise_exception('Only\\nsystems') }}", r"fails \(Only\); mend it"),
        ("{{ nothing.at.all }}", r"fails \('nothing' is undefined\)"),
        ("{{ messages[0].content + 1 }}", "fails"),
        ("hello", "loses the prompt .*; mend the template, or set model.template"),
        ("{{ messages[0].role }}", "loses the prompt"),
        ("{{ messages[0].content[:5] }}", "loses the prompt"),
    ],
)
def test_bad_chat_templates_are_told(template: str, said: str) -> None:
    tokenizer = byte_level_tokenizer()
    tokenizer.chat_template = template
    with pytest.raises(UserError, match=said) as caught:
        Renderer(tokenizer, "chat")
    assert "\n" not in str(caught.value)


def test_a_chat_template_that_refuses_some_prompts_is_told_when_it_does() -> None:
    tokenizer = byte_level_tokenizer()
    tokenizer.chat_template = "{{ raise_exception('no') if 'x' in messages[0].content else messages[0].content }}"
    render = Renderer(tokenizer, "chat", "<|end|>")
    with pytest.raises(UserError, match=r"chat template fails \(no\)"):
        render.prompt_ids("x")

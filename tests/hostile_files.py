"""What a hostile newcomer brings: spoilt data files and model folders, each with what must be said of it."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conftest import TEXTS

Make = Callable[[Path], Path]


def good(count: int = 60, **changes: Any) -> list[dict[str, Any]]:
    """Paired rows."""
    rows = []
    for k in range(count):
        a, b, c, d = TEXTS[k % len(TEXTS)]
        row = {"id": str(k), "prompt_en": f"{a} {k}", "response_en": f"{b} {k}", "lang": "sw"}
        rows.append(row | {"prompt": f"{c} {k}", "response": f"{d} {k}"} | changes)
    return rows


def text(rows: list[Any]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _with(place: int, **changes: Any) -> str:
    rows = good()
    rows[place] = {k: v for k, v in (rows[place] | changes).items() if v != "GONE"}
    return text(rows)


def _csv(rows: list[dict[str, Any]], delimiter: str = ",") -> str:
    import csv
    import io

    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _file(name: str, content: str | bytes) -> Make:
    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        return path

    return make


def _folder(folder: Path) -> Path:
    (folder / "x.jsonl").mkdir()
    return folder / "x.jsonl"


def _parquet(spoil: Callable[[bytes], bytes], **changes: Any) -> Make:
    def make(folder: Path) -> Path:
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = folder / "rows.parquet"
        pq.write_table(pa.Table.from_pylist([row | changes for row in good()]), path)
        path.write_bytes(spoil(path.read_bytes()))
        return path

    return make


_ROWS, _ZIPPED = text(good()), gzip.compress(text(good()).encode())
_COPY = [r | {"prompt": r["prompt_en"], "response": r["response_en"]} for r in good()]
DATA: dict[str, tuple[Make, str]] = {
    "a missing file": (lambda folder: folder / "no.jsonl", "does not exist"),
    "a folder": (_folder, "is a folder; give a .jsonl"),
    "a device": (lambda _: Path("/dev/null"), "is no ordinary file"),
    "another suffix": (_file("rows.txt", _ROWS), "give a .jsonl"),
    "no suffix": (_file("rows", _ROWS), "give a .jsonl"),
    "an empty file": (_file("r.jsonl", ""), "holds no rows"),
    "blank lines": (_file("r.jsonl", "\n \n\n"), "holds no rows"),
    "no JSON": (_file("r.jsonl", "id: 1\n" + _ROWS), "line 1 is not JSON"),
    "a cut line": (_file("r.jsonl", _ROWS[:-40]), "line 60 is not JSON"),
    "a list": (_file("r.jsonl", "[1]\n" + _ROWS), "line 1 is not a JSON object"),
    "a number": (_file("r.jsonl", "3\n" + _ROWS), "line 1 is not a JSON object"),
    "no id": (_file("r.jsonl", _with(3, id="GONE")), "line 4: the field 'id' is missing"),
    "id null": (_file("r.jsonl", _with(3, id=None)), "line 4: the field 'id' is missing"),
    "id empty": (_file("r.jsonl", _with(3, id="")), "line 4: the field 'id' is missing"),
    "id true": (_file("r.jsonl", _with(3, id=True)), "line 4: the field 'id' is True"),
    "id 1.5": (_file("r.jsonl", _with(3, id=1.5)), "line 4: the field 'id' is 1.5"),
    "id a list": (_file("r.jsonl", _with(3, id=[1])), "line 4: the field 'id' is [1]"),
    "id twice": (_file("r.jsonl", _with(3, id="0")), "line 4: id '0' has 'en' twice"),
    "id 0 and '0'": (_file("r.jsonl", _with(3, id=0)), "line 4: id '0' has 'en' twice"),
    "no lang": (_file("r.jsonl", _with(3, lang="GONE")), "line 4: the field 'lang' is missing"),
    "lang a number": (_file("r.jsonl", _with(3, lang=4)), "line 4: the field 'lang' is missing"),
    "another language": (_file("r.jsonl", text(good(lang="ko"))), "has no 'sw' text (it has en, ko)"),
    "no English": (
        _file("r.jsonl", text([{k: v for k, v in r.items() if "_en" not in k} for r in good()])),
        "has no 'en' text",
    ),
    "prompt a number": (_file("r.jsonl", _with(3, prompt=4)), "line 4: the field 'prompt' is missing or not a text"),
    "no response": (_file("r.jsonl", _with(3, response="GONE")), "line 4: the field 'response' is missing"),
    "response null": (_file("r.jsonl", _with(3, response=None)), "line 4: the field 'response' is missing"),
    "response empty": (_file("r.jsonl", _with(3, response="")), "line 4: the field 'response' is empty"),
    "response blank": (_file("r.jsonl", _with(3, response=" \n")), "line 4: the field 'response' is empty"),
    "response invisible": (_file("r.jsonl", _with(3, response="\u200b")), "line 4: the field 'response' is empty"),
    "UTF-16": (_file("r.jsonl", _ROWS.encode("utf-16")), "is UTF-16; convert the file to UTF-8"),
    "UTF-32": (_file("r.jsonl", _ROWS.encode("utf-32")), "is UTF-32; convert the file to UTF-8"),
    "Latin-1": (_file("r.jsonl", _with(3, response="é").encode("latin-1")), "line 4 is not UTF-8"),
    "NUL": (_file("r.jsonl", _with(3, response="x").replace('"x"', '"\0"')), "line 4 holds a NUL byte"),
    "half a character": (_file("r.jsonl", _with(3, response="X@").replace("X@", "\\ud800")), "holds half a character"),
    "5,000 digits": (_file("r.jsonl", f'{{"id": {"9" * 5000}}}\n'), "line 1 holds a number of too many digits"),
    "deep": (_file("r.jsonl", '{"id": ' + "[" * 90_000 + "\n"), "line 1 is nested too deeply"),
    "a JSON object": (_file("r.json", json.dumps({"rows": good()})), "is not a JSON list of objects"),
    "cut JSON": (_file("r.json", json.dumps(good())[:-9]), "is not JSON"),
    "CSV with other fields": (_file("r.csv", _csv(good()) + "a,b\n"), "row 61 has another number of fields"),
    "CSV with an open quote": (_file("r.csv", _csv(good()) + '"a,b\n'), "row 61 cannot be read"),
    "CSV with a column twice": (_file("r.csv", "id,id\n1,2\n"), "the column 'id' comes twice"),
    "CSV of a header": (_file("r.csv", "id,lang,prompt,response\n"), "holds no rows"),
    "CSV without a header": (_file("r.csv", "1,en,a,b\n2,en,c,d\n"), "row 1: the field 'id' is missing"),
    "gzip cut": (_file("r.jsonl.gz", _ZIPPED[:-40]), "is cut or damaged"),
    "no gzip": (_file("r.jsonl.gz", _ROWS), "cannot be read (Not a gzipped file"),
    "zipped Parquet": (_file("r.parquet.gz", b"x"), "give a .jsonl"),
    "no Parquet": (_file("r.parquet", _ROWS), "is not a readable Parquet file"),
    "Parquet cut": (_parquet(lambda raw: raw[:-60]), "is not a readable Parquet file"),
    "Parquet damaged": (_parquet(lambda raw: raw[:4] + bytes(300) + raw[304:]), "is not a readable Parquet file"),
    "Parquet with numbers": (_parquet(lambda raw: raw, prompt=3), "row 1: the field 'prompt' is missing or not a text"),
    "copies": (_file("r.jsonl", text(_COPY)), "60 of 60 rows have the same prompt and response in en and sw"),
    "untranslated": (
        _file("r.jsonl", text([r | {"prompt": r["prompt"], "response": "Not translated at all, ever " + r["id"],
                                    "response_en": "not translated at all, ever " + r["id"]} for r in good()])),
        "60 of 60 rows have the same long prompt or the same long response",
    ),
    "repeats": (_file("r.jsonl", text([r | {"id": k} for k, r in enumerate(good(6) * 9)])), "48 of 54 rows repeat"),
    "signs": (_file("r.jsonl", text(good(response="…"))), "60 of 60 rows have a prompt or response of signs alone"),
    "one prompt": (
        _file("r.jsonl", text(good(prompt="Endelea kuandika."))),
        "none is left; give every example a prompt",
    ),
    "too few to hold out": (_file("r.jsonl", text(good(7))), "too few to hold 5 out; lower data.held_out"),
    "too few to train": (_file("r.jsonl", text(good(20))), "is beyond the 10 training rows"),
}  # fmt: skip
"""Kind -> (makes the file, what is said of it)."""


def _change(name: str, edit: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / name
        path.write_bytes(edit(path.read_bytes()))

    return change


def _set(name: str, **values: Any) -> Callable[[Path], None]:
    return _change(name, lambda raw: json.dumps({**json.loads(raw), **values}).encode())


def _tensors(edit: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        tensors = load_file(folder / "model.safetensors")
        edit(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    return change


def _gone(*names: str) -> Callable[[Path], None]:
    return lambda folder: [(folder / name).unlink() for name in names] and None


def _emptied(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def _a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("x")


def _template(text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "chat_template.jinja").write_text(text) and None


def _pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'true'\ntR.")


_UP = "model.layers.1.mlp.up_proj.weight"
CHAT = ["model.template=chat"]
MODELS: dict[str, tuple[Callable[[Path], Any], str, list[str]]] = {
    "gone": (shutil.rmtree, "no such folder", []),
    "empty": (_emptied, "the folder must hold a Hugging Face causal language model", []),
    "a file": (_a_file, "cannot load model.path=", []),
    "no config": (_gone("config.json"), "cannot load model.path=", []),
    "config cut": (_change("config.json", lambda raw: raw[:60]), "cannot load model.path=", []),
    "config a list": (_change("config.json", lambda _: b"[]"), "cannot load model.path=", []),
    "config of no model": (_set("config.json", model_type="nothing"), "cannot load model.path=", []),
    "config of texts": (_set("config.json", hidden_size="wide"), "cannot load model.path=", []),
    "other widths": (_set("config.json", intermediate_size=48), "or hold it in another shape", []),
    "no weights": (_gone("model.safetensors"), "cannot load model.path=", []),
    "weights cut": (_change("model.safetensors", lambda raw: raw[:5000]), "cannot load model.path=", []),
    "weights empty": (_change("model.safetensors", lambda _: b""), "cannot load model.path=", []),
    "a tensor less": (_tensors(lambda t: t.pop(_UP)), f"its weights lack {_UP}", []),
    "not finite": (_tensors(lambda t: t[_UP].fill_(float("nan"))), "the weights hold NaN or infinity", []),
    "a pickle": (_pickled, "cannot load model.path=", []),
    "no tokenizer": (_gone("tokenizer.json", "tokenizer_config.json"), "with its tokenizer", []),
    "tokenizer cut": (_change("tokenizer.json", lambda raw: raw[:900]), "cannot load", []),
    "tokenizer a list": (_change("tokenizer.json", lambda _: b"[]"), "cannot load", []),
    "template of no syntax": (_template("{% for %}"), "chat template", CHAT),
    "template that raises": (_template("{{ raise_exception('no') }}"), "chat template", CHAT),
    "template without the prompt": (_template("hello"), "chat template", CHAT),
    "no template": (_gone("chat_template.jinja"), "template", CHAT),
    "plain without the prompt": (
        lambda _: None,
        "model.template needs {prompt} exactly once",
        ["model.template=hello"],
    ),
    "blank end": (lambda _: None, "is blank; name a token", ["model.end_of_turn=' '"]),
    "unknown end": (lambda _: None, "no end-of-turn token <nope>", ["model.end_of_turn='<nope>'"]),
    "over the window": (lambda _: None, "is over the window of", ["model.max_length=4000"]),
    "no such layers": (lambda _: None, "is not a range within this model's layers", ["tuning.layers=[5,6]"]),
    "quantized on a CPU": (lambda _: None, "model.quantize=4bit", ["model.quantize=4bit", "tuning=attention_lora"]),
}
"""Kind -> (spoils a folder, what is said, more words)."""

WORDS = (
    (["lang=xx"], "Could not find 'lang/xx'"),
    (["nothing=1"], "Could not override 'nothing'"),
    (["+nothing=1"], "unknown key nothing"),
    (["lang=[sw"], "cannot be read"),
    (["lang"], "is not key=value"),
    (["=3"], "is not key=value"),
    (["lang=null"], "a group needs the name of an option"),
    (["lang=sw,ko"], "add --multirun"),
    (["method=[clo,sft]"], "method needs one option"),
    (["tuning.lora.r=4"], "a key lies under one that is null"),
    (["-m", "tuning=attention,attention_lora", "tuning.lora.r=4"], "a key lies under one that is null"),
    (["-m", "tuning=attention_lora,mlp_lora", "tuning.lora.r=4"], "Could not find 'tuning/mlp_lora'"),
    (["output_dir="], "output_dir is a folder"),
    (["cache_dir=' '"], "cache_dir is a folder"),
    (["study_name="], "study_name is letters"),
    (["study_name=a/b"], "study_name is letters"),
    (["lang.code=../x"], "lang.code is letters"),
    (["lang=any"], "lang=any needs a code and a name"),
    (["lang.code=en"], "must differ from lang.source"),
    (["method.lr=nan"], "method.lr"),
    (["method.lr=inf"], "method.lr"),
    (["method=sft", "method.beta=0.2"], "method.beta has no effect"),
    (["data.train=x.jsonl"], "data.train has no effect"),
    (["data.poor_rows=say"], "data.poor_rows has no effect"),
    (["method.sft_first.lr=1"], "null"),
    (["data.translation.beams=2"], "null"),
    (["tuning=attention", "tuning.layers=[1]"], "tuning.layers is [first, last]"),
    (["tuning=attention_lora", "tuning.trains=full"], "tuning.lora needs tuning.trains"),
    (["data=files"], "data=files needs data.train"),
    (["data=oasst", "data.translation.engine=chat"], "needs data.translation.model"),
    (["evaluation.benchmarks.names=[nope]"], "evaluation.benchmarks.names"),
    (["evaluation.benchmarks.names=[xcopa,xcopa]"], "names one twice"),
    (["evaluation.benchmarks.data=/nowhere"], "is no folder"),
    (["evaluation.benchmarks.shots=3"], "has no effect"),
    (["logger.project=x"], "has no effect"),
    (["trainer.memory_gb=4"], "has no effect"),
    (["-m", "seed=0,x"], "seed"),
    (["seed=1", "-m", "lang=ko,sw"], "-m comes before"),
    (["-m", "lang=sw,xx"], "Could not find 'lang/xx'"),
    (["--nope"], "unrecognized arguments"),
    (["-m", "--cfg", "job", "seed=0,1"], "Only one of"),
    (["method.lam=2"], "method.lam"),
    (["method.nll=none", "method.lam=0.5"], "method.lam has no effect"),
    (["method.nll=none", "method.preference=none"], "neither an NLL term nor a comparison"),
    (["data_size=99999999"], "is beyond the"),
    (["trainer.reference=adapters_off"], "needs adapters"),
)
"""Words of a command line, and what the sentence about them says."""

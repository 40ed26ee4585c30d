"""What tools answer, each against something independent of it."""

import json
import math
import random
import re
from collections import Counter
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from agent.openai_double import KEY, message, openai_double, text
from hypothesis import given
from hypothesis import strategies as st
from openapi.loopback import Site
from tiny_models import save_tiny_llama
from transformers import M2M100Config, M2M100ForConditionalGeneration, NllbTokenizer

from toolalpaca_hf.agent import read_tasks, real_calls, simulated_calls
from toolalpaca_hf.errors import InputError, NotFoundError, OptionError, ToolAlpacaError
from toolalpaca_hf.schema import Api, Function
from toolalpaca_hf.simulator import SESSION_HEADER, running
from toolalpaca_hf.storage import StorageError
from toolalpaca_hf.toolformer import Markers, Tool, ToolCall, prompt_for, tools_named
from toolalpaca_hf.toolformer.tools import (
    TOOLS,
    ApiFunction,
    ApiSource,
    Calculator,
    Calendar,
    QuestionAnswerer,
    Translation,
    WikiSearch,
    paper,
)
from toolalpaca_hf.toolformer.tools.paper import split_passages

# --- calculator

numbers = st.integers(0, 999).map(lambda n: (str(n), Fraction(n))) | st.integers(0, 99999).map(
    lambda n: (f"{n / 100:.2f}", Fraction(n, 100))
)


def joined(parts: tuple[tuple[str, Fraction], str, tuple[str, Fraction]]) -> tuple[str, Fraction | None]:
    (left, a), sign, (right, b) = parts
    if a is None or b is None or (sign == "/" and b == 0):
        return f"({left} {sign} {right})", None
    value = {"+": a + b, "-": a - b, "*": a * b}[sign] if sign != "/" else a / b
    return f"({left} {sign} {right})", value


expressions = st.recursive(
    numbers, lambda inner: st.tuples(inner, st.sampled_from("+-*/"), inner).map(joined), max_leaves=6
)


@given(expressions)
def test_the_calculator_computes_what_fractions_say(expression: tuple[str, Fraction | None]) -> None:
    written, value = expression
    result = Calculator()(written)
    if value is None:
        assert result is None
    else:
        assert result is not None and re.fullmatch(r"-?\d+(\.\d{1,2})?", result)
        assert abs(Fraction(result) - value) <= Fraction(1, 200) + abs(value) / 10**12


@pytest.mark.parametrize(
    ("written", "result"),
    [
        ("400 / 1400", "0.29"),
        ("27 + 4 * 2", "35"),
        (" 48/2 ", "24"),
        ("2,500.50 * 2", "5001"),
        ("7 ÷ 2 − 1", "2.5"),
        ("-(3 - 5)", "2"),
        ("007 + 1.05", "8.05"),
        ("0.1 + 0.2", "0.3"),
        ("-0.001", "0"),
        ("9**9**9", None),
        ("9 * * 9", None),
        ("7 // 2", None),
        ("1 / 0", None),
        ("1 / (0.5 - 0.5)", None),
        ("9" * 5000, None),
        ("(" * 150 + "1" + ")" * 40, None),
        ("(" * 99 + "1" + ")" * 99, "1"),
        ("-" * 199 + "1", None),
        ("1e999", None),
        ("9" * 60 + "* 0.5", None),
        ("9" * 60 + "* 10", "9" * 60 + "0"),
        ("9" * 199 + ".", None),
        ("1, 2", None),
        ("1,23", None),
        # A comma that separates no thousands.
        ("0,500 * 2", None),
        ("1000,200 + 1", None),
        ("3.14,159", None),
        ("(1)(2)", None),
        ("...", None),
        ("1 +", None),
        ("", None),
        ("abs(-1)", None),
        ("__import__('os')", None),
        ("'a' * 9", None),
        ("1 if 1 else 2", None),
        ("٣ + ٤", None),
        ("1\x00", None),
    ],
)
def test_the_calculator_is_bounded(written: str, result: str | None) -> None:
    found = Calculator()(written)
    # Whether 199 signs are nested too deep is up to Python.
    assert found == result or (written.startswith("---") and found == "-1")


# --- calendar


def test_the_calendar_goes_by_the_document_s_date_else_by_today() -> None:
    assert Calendar("2023-01-30")("anything") == "Today is Monday, January 30, 2023."
    assert Calendar().for_document({"date": "2020-02-29T23:59:59Z"})("") == "Today is Saturday, February 29, 2020."
    for since in (1420070400, "1420070400.0", 1420070400000):
        assert Calendar().for_document({"date": since})("") == "Today is Thursday, January 1, 2015."
    assert Calendar().for_document({"date": "20150101093000"})("") == "Today is Thursday, January 1, 2015."
    for meta in ({}, {"date": None}, {"date": "yesterday"}, {"date": 7}):
        before, said, after = date.today(), Calendar().for_document(meta)(""), date.today()
        assert said in {Calendar(before)(""), Calendar(after)("")}
    crawled = {"date": "2020-02-29T23:59:59Z"}
    for url, said in (
        ("https://example.com/2012/07/01/news", "Today is Sunday, July 1, 2012."),
        ("https://example.com/2012-7-1_news", "Today is Sunday, July 1, 2012."),
        ("https://example.com/2012/02/31/2012/07/01", "Today is Sunday, July 1, 2012."),
        ("https://example.com/2012/02/31", "Today is Saturday, February 29, 2020."),
        ("https://example.com/12012/07/01", "Today is Saturday, February 29, 2020."),
        (None, "Today is Saturday, February 29, 2020."),
    ):
        assert Calendar().for_document({**crawled, "url": url})("") == said
    assert Calendar().for_document({"url": "https://example.com/2012/07/01/news"})("").endswith("July 1, 2012.")
    assert Calendar("2023-01-30").key != Calendar("2023-01-31").key
    for day in ("30 January", "2023-01-301"):
        with pytest.raises(OptionError):
            Calendar(day)


# --- search


def bm25(passages: list[str], query: str) -> list[float]:
    """Lucene's BM25 from its formula, k1 = 1.5, b = 0.75."""
    bags = [Counter(re.findall(r"\w+", passage.lower())) for passage in passages]
    mean = sum(sum(bag.values()) for bag in bags) / len(bags)
    scores = []
    for bag in bags:
        score = 0.0
        for word in re.findall(r"\w+", query.lower()):
            holding = sum(word in other for other in bags)
            idf = math.log(1 + (len(bags) - holding + 0.5) / (holding + 0.5))
            score += idf * bag[word] / (bag[word] + 1.5 * (1 - 0.75 + 0.75 * sum(bag.values()) / mean))
        scores.append(score)
    return scores


def test_search_finds_what_the_formula_finds(tmp_path: Path) -> None:
    draw = random.Random(0)
    words = [f"word{i}" for i in range(60)]
    rows = [{"title": f"T{i}", "text": " ".join(draw.choices(words, k=draw.randint(5, 99))) + "."} for i in range(60)]
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows))
    passages = [passage for row in rows for passage in split_passages(row["title"], row["text"])]
    search = WikiSearch(corpus, cache_dir=tmp_path / "index")
    for _ in range(30):
        query = " ".join(draw.sample(words, k=draw.randint(1, 4)))
        scores = bm25(passages, query)
        assert scores[passages.index(search(query) or "")] == pytest.approx(max(scores), rel=1e-4)
    assert search("nothing of it") is None and search("") is None and search("?!") is None


@given(st.text(max_size=300), st.integers(1, 9))
def test_passages_are_the_text_and_none_is_longer(text: str, words: int) -> None:
    passages = list(split_passages("", text, words))
    assert " ".join(passages).split() == text.split()
    assert all(0 < len(passage.split()) <= words for passage in passages)


def test_a_corpus_without_words_of_one_line_and_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "... !!!"}\n')
    (tmp_path / "b.txt").write_text("Oaks are trees.")
    with pytest.raises(InputError):
        WikiSearch(tmp_path / "a.jsonl", cache_dir=tmp_path / "index").check()
    assert WikiSearch(tmp_path / "b.txt", cache_dir=tmp_path / "index")("oaks") == "Oaks are trees."
    with pytest.raises(StorageError):
        WikiSearch(tmp_path / "b.txt", cache_dir=tmp_path / "b.txt" / "index").check()


def test_an_index_is_built_once_and_anew_when_its_corpus_changes(tmp_path: Path) -> None:
    corpus, index = tmp_path / "corpus", tmp_path / "index"
    corpus.mkdir()
    (corpus / "a.txt").write_text("Oak\nThe oak is a tree with acorns.")
    pq.write_table(pa.table({"text": ["The birch has a white bark.", None], "n": [1, 2]}), corpus / "b.parquet")
    (corpus / "c.jsonl").write_text('{"text": "The elm is tall."}\nnot JSON\n[1]\n{"text": 5}\n{"title": "x"}\n')
    assert WikiSearch(corpus, cache_dir=index)("white bark") == "The birch has a white bark."
    assert WikiSearch(corpus, cache_dir=index)("acorns") == "Oak: The oak is a tree with acorns."
    assert WikiSearch(corpus, cache_dir=index)("elm") == "The elm is tall."
    built = [path for path in index.iterdir() if path.is_dir()]
    assert len(built) == 1
    # What is there is used: a passage changed behind its back is the one that is found.
    kept = built[0] / "passages.jsonl"
    kept.write_text(kept.read_text().replace("acorns", "nuts of its own"))
    search = WikiSearch(corpus, cache_dir=index)
    assert search("acorns") == "Oak: The oak is a tree with nuts of its own."
    (corpus / "a.txt").write_text("Oak\nThe oak is a tree with many acorns.")
    changed = WikiSearch(corpus, cache_dir=index)
    assert changed("acorns") == "Oak: The oak is a tree with many acorns."
    assert changed.key != search.key


@pytest.mark.parametrize(("name", "content"), [("empty.jsonl", b""), ("bad.parquet", b"PAR1"), ("a.csv", b"text\nx")])
def test_a_corpus_that_cannot_be_used_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises((InputError, NotFoundError)) as error:
        WikiSearch(tmp_path / name, cache_dir=tmp_path / "index").check()
    assert error.value.file == tmp_path / name
    with pytest.raises(NotFoundError):
        WikiSearch(tmp_path / "absent")


# --- question answering


def test_a_server_answers_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLALPACA_API_KEY", KEY)
    asked: list[dict] = []

    def raw(body: dict) -> tuple[int, dict[str, str], bytes]:
        asked.append(body)
        return text(" Goethe\n\nQuestion: and")

    with openai_double(raw) as site:
        qa = QuestionAnswerer("gpt-9", f"{site.url}/v1")
        assert qa('"Who wrote {text}?"') == "Goethe"
    assert asked[0]["prompt"].endswith("Question: Who wrote {text}?\nAnswer:")
    with openai_double(message("<think>Hm.</think>Answer: Goethe")) as site:
        assert QuestionAnswerer("gpt-9", f"{site.url}/v1", chat=True)("Who?") == "Goethe"
    with openai_double(text("  \n")) as site:
        assert QuestionAnswerer("gpt-9", f"{site.url}/v1")("Who?") is None
    assert QuestionAnswerer("x", "http://127.0.0.1:9/v1")(" ") is None
    assert KEY not in repr(vars(qa))


def test_a_server_that_cannot_answer_is_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLALPACA_API_KEY", KEY)
    with openai_double(text("Paris")) as site:
        tools_named("qa", qa_model="gpt-9", qa_endpoint=f"{site.url}/v1")["QA"].check()
    with pytest.raises(ToolAlpacaError):
        tools_named("qa", qa_model="gpt-9", qa_endpoint="http://127.0.0.1:9/v1")["QA"].check()


def test_answers_are_kept_by_how_they_were_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def key(**options: Any) -> str | None:
        return tools_named("qa", qa_model="gpt-9", **options)["QA"].key

    server = {"qa_endpoint": "http://127.0.0.1:9/v1"}
    keys = [key(), key(**server), key(**server, qa_chat=True)]
    (tmp_path / "answer.txt").write_text("Other words: {text}")
    monkeypatch.setattr(paper, "PROMPTS", tmp_path)
    assert len({*keys, key()}) == 4


def test_models_of_this_process_are_asked_one_thing_at_a_time() -> None:
    tools = tools_named("qa,mt,calculator", qa_model="smollm2")
    assert {name: tool.at_once for name, tool in tools.items()} == {"QA": 1, "MT": 1, "Calculator": 8}


def test_a_model_on_this_machine_answers_questions(tmp_path: Path) -> None:
    qa = QuestionAnswerer(str(save_tiny_llama(tmp_path / "model")))
    first = qa("Who?")
    assert first == qa("Who?") and "\n" not in (first or "")


# --- translation

SENTENCE, ENGLISH = "Der Fluss ist lang und breit.", "The river is long."


@pytest.fixture(scope="module")
def nllb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """NLLB's architecture and tokenizer, of two layers, that was taught one sentence; NLLB itself needs the Hub."""
    import torch

    folder = tmp_path_factory.mktemp("nllb")
    letters = sorted(set("▁" + (SENTENCE + ENGLISH).replace(" ", "▁")))
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *letters]
    tokenizer = NllbTokenizer({token: i for i, token in enumerate(tokens)}, [])
    torch.manual_seed(0)
    config = M2M100Config(
        vocab_size=len(tokenizer),
        d_model=64,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=128,
        decoder_ffn_dim=128,
        max_position_embeddings=256,
        dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
    )
    model = M2M100ForConditionalGeneration(config)
    tokenizer.src_lang = "deu_Latn"
    inputs = tokenizer(SENTENCE, return_tensors="pt")
    target = tokenizer(ENGLISH, add_special_tokens=False)["input_ids"]
    labels = torch.tensor([[tokenizer.convert_tokens_to_ids("eng_Latn"), *target, tokenizer.eos_token_id]])
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(120):
        loss = model(**inputs, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if loss.item() < 0.01:
            break
    assert loss.item() < 0.1
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_text_is_translated_from_the_language_it_is_in(nllb: Path) -> None:
    tool = Translation(str(nllb))
    assert tool(f'"{SENTENCE}"') == ENGLISH
    assert tool("This is English already, every single word of it.") is None
    assert tool(" ") is None


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (SENTENCE, "deu_Latn"),
        ("Le fleuve est long et large.", "fra_Latn"),
        ("Река длинная и широкая, она течёт на север.", "rus_Cyrl"),
        ("この川はとても長くて広いです。", "jpn_Jpan"),
        ("123 456", None),
    ],
)
def test_languages_are_detected(text: str, code: str | None) -> None:
    found = Translation().source_of(text)
    assert found == code


def test_every_language_is_one_of_nllb_s() -> None:
    from transformers.models.nllb.tokenization_nllb import FAIRSEQ_LANGUAGE_CODES

    assert set(Translation()._codes.values()) <= set(FAIRSEQ_LANGUAGE_CODES)


def test_models_that_will_not_do_are_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        Translation(str(tmp_path / "absent")).check()


# --- functions of APIs


def test_functions_of_an_api_are_tools() -> None:
    source = read_tasks("sample")
    with running(source.apis) as url:
        calls = simulated_calls(source.apis, url, SESSION_HEADER)[source.apis[0].id]
        tools = {name: ApiFunction(calls, name) for name in calls.names}
        results = {name: tool(json.dumps(arguments_of(tool))) for name, tool in tools.items()}  # type: ignore[arg-type]  # the tools of the paper
        calls.close()
    assert any(results.values())
    for result in filter(None, results.values()):
        json.loads(result)
    assert all(tool.key is None for tool in tools.values())


def test_names_of_functions_can_be_written_in_a_call_and_differ(tmp_path: Path) -> None:
    names = ["a b", "a_b", "2fa", "n" * 70 + "1", "n" * 70 + "2", "wetter_für"]
    paths = {f"/{i}": {"get": {"operationId": name, "responses": {}}} for i, name in enumerate(names)}
    document = {"openapi": "3.0.0", "info": {"title": "T", "version": "1"}, "paths": paths}
    (tmp_path / "api.json").write_text(json.dumps(document), encoding="utf-8")
    with ApiSource(str(tmp_path / "api.json")).opened() as tools:
        assert len(tools) == len(names) and {"a_b", "a_b_2", "_2fa", "wetter_für"} <= set(tools)
        assert all(Markers().parse(Markers().call(ToolCall(name, "1"))) == ToolCall(name, "1") for name in tools)


def arguments_of(tool: ApiFunction) -> dict:
    samples = {"string": "x", "integer": 1, "number": 1.5, "boolean": True, "array": [], "object": {}}
    properties = tool.schema["parameters"]["properties"]
    return {
        name: one["enum"][0] if "enum" in one else samples[one.get("type", "string")]
        for name, one in properties.items()
    }


def test_a_bare_value_is_the_one_argument() -> None:
    document = {
        "openapi": "3.0.0",
        "info": {"title": "Cubes", "version": "1"},
        "paths": {
            "/cube/{n}": {
                "get": {
                    "operationId": "cube",
                    "description": "The cube of {text}.",
                    "parameters": [{"name": "n", "in": "path", "required": True, "schema": {"type": "integer"}}],
                    "responses": {"200": {"description": "ok"}},
                }
            }
        },
    }
    with Site([(200, {"Content-Type": "text/plain"}, b"27"), (404, {}, b"no"), (200, {}, b"8")]) as site:
        document["servers"] = [{"url": site.url}]
        api = Api(
            "loaded/cubes",
            "Cubes",
            documentation=document,
            functions=[Function("cube", "/cube/{n}", "get", "")],
        )
        calls = real_calls([api], private=[site.url.removeprefix("http://")])[api.id]
        tool = ApiFunction(calls, "cube")
        assert tool("3") == "27"
        assert tool("3") is None  # the server said 404
        assert tool('{"n": 2}') == "8"
        assert tool("three") is None  # no request is made of it
        calls.close()
    assert [seen.target for seen in site.seen] == ["/cube/3", "/cube/3", "/cube/2"]
    assert "Function: cube, arguments: n. The cube of ." in prompt_for(tool)


# --- all of them


def test_tools_by_name(tmp_path: Path) -> None:
    tools = tools_named(", ".join(TOOLS).upper(), qa_model="smollm2", cache_dir=tmp_path)
    assert list(tools) == ["Calculator", "Calendar", "QA", "WikiSearch", "MT"]
    assert tools_named("calendar", date="2023-01-30")["Calendar"]("") == "Today is Monday, January 30, 2023."
    for bad in ("calc", "qa"):
        with pytest.raises(OptionError):
            tools_named(bad)


@pytest.mark.parametrize("name", ["Calculator", "Calendar", "QA", "WikiSearch", "MT"])
def test_demonstrations_are_the_texts_with_calls_put_in(name: str, tmp_path: Path) -> None:
    tool = tools_named(list(TOOLS), qa_model="smollm2", cache_dir=tmp_path)[name]
    prompt, markers = prompt_for(tool), Markers()
    *shown, asked = re.findall(r"^Text: (.*)\nWith calls:(.*)$", prompt, re.MULTILINE)
    assert asked == ("{text}", "") and len(shown) == 3
    for plain, annotated in shown:
        assert markers.strip(annotated.strip()) == plain
        assert [found.call.tool for found in markers.find(annotated)] == [name]
        assert all(found.result is None for found in markers.find(annotated))
    special = prompt_for(tool, Markers("<API>", "</API>", "→"))
    assert special.count("<API>") == special.count("</API>") == 4 and f"[{name}" not in special


def test_the_calculator_s_demonstrations_compute_the_number_that_follows() -> None:
    annotated = prompt_for(Calculator())
    found = [one for one in Markers().find(annotated) if one.call.input != "expression"]
    assert len(found) == 3
    for one in found:
        assert Calculator()(one.call.input) == re.match(r" (\d+)", annotated[one.end :])[1]  # type: ignore[index]  # it has to match


def test_prompts_that_will_not_do_are_named(tmp_path: Path) -> None:
    class Own(Tool):
        name = "Own"

        def __call__(self, text: str) -> str | None:
            return text

    own = Own()
    with pytest.raises(InputError):
        prompt_for(own)
    own.prompt = tmp_path / "own.txt"
    with pytest.raises(InputError):
        prompt_for(own)
    own.prompt.write_text("no slot")
    with pytest.raises(InputError):
        prompt_for(own)
    own.prompt.write_text("Say [Own(x)]: {text}\n")
    assert prompt_for(own, Markers("<", "|", "->")) == "Say <Own(x)|: {text}"
    assert ToolCall("Own", "x") == Markers().parse("[Own(x)]")

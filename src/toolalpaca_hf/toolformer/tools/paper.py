"""The tools of section 3 of arXiv 2302.04761: calculator, calendar, question answering, search, and translation."""

import hashlib
import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from datetime import UTC, date, datetime
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from threading import Lock
from typing import Any

from filelock import FileLock

from ...errors import InputError, NotFoundError, OptionError, UnsupportedModelError
from ...precision import default_device
from ...storage import disk_errors, read_text
from ..rows import digest_of, read_rows
from .tool import PROMPTS, SLOT, Tool

_LONGEST = 200
_SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-"})
_THOUSANDS = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:,\d{3})+(?![\d,])")
_DATE_IN_URL = re.compile(r"(?<!\d)((?:19|20)\d\d)[-/_](0?[1-9]|1[0-2])[-/_](0?[1-9]|[12]\d|3[01])(?!\d)")


class Calculator(Tool):
    """The calculator of section 3: `+ - * /` and parentheses, rounded to two decimals; no result for anything else."""

    name = key = "Calculator"
    prompt = "calculator.txt"

    def __call__(self, text: str) -> str | None:
        from simpleeval import InvalidExpression, SimpleEval

        text = " ".join(_THOUSANDS.sub(lambda number: number[0].replace(",", ""), text.translate(_SIGNS)).split())
        # Of what these characters can express, only powers and integer divisions are not the paper's operations.
        if len(text) > _LONGEST or not re.fullmatch(r"[0-9.+\-*/()\s]+", text) or re.search(r"\* ?\*|/ ?/", text):
            return None
        text = re.sub(r"(?<![\d.])0+(?=\d)", "", text)  # Python takes no 007
        try:
            value = SimpleEval(functions={}, names={}).eval(text)
            if isinstance(value, float) and abs(value) >= 2**53:
                return None  # such a float has digits that nobody computed
            value = round(value, 2)
            return str(int(value)) if value == int(value) else f"{value:.2f}".rstrip("0")
        except (InvalidExpression, ArithmeticError, ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            return None


class Calendar(Tool):
    """The calendar of section 3: takes no input and returns the date, by default today's."""

    name = "Calendar"
    prompt = "calendar.txt"

    def __init__(self, day: date | str | None = None) -> None:
        self.day = day if day is None or isinstance(day, date) else _date_of(day)
        if day is not None and (self.day is None or (isinstance(day, str) and len(day.strip()) > 10)):
            raise OptionError(f"{day!r} is not a date", option="--date", fix="write one as 2023-01-30")

    @property
    def key(self) -> str:  # type: ignore[override]  # changes at midnight
        return f"Calendar {self._today():%Y-%m-%d}"

    def __call__(self, text: str) -> str:
        day = self._today()
        return f"Today is {day:%A, %B} {day.day}, {day.year}."

    def for_document(self, meta: Mapping[str, Any]) -> "Calendar":
        """A calendar with the date in the document's `url`, else its `date`, which may be that of a crawl."""
        day = date_in_url(meta.get("url")) or _date_of(meta.get("date"))
        return Calendar(day) if day else self

    def _today(self) -> date:
        return self.day or datetime.now().astimezone().date()


def date_in_url(url: Any) -> date | None:
    """The first date in a URL (`/2012/07/01/`), or `None`."""
    for match in _DATE_IN_URL.finditer(str(url)):
        with suppress(ValueError):  # the 31st of February
            return date(*map(int, match.groups()))
    return None


def _date_of(value: Any) -> date | None:
    if isinstance(value, date):
        return value.date() if isinstance(value, datetime) else value
    text = str(value).strip()
    if since := re.fullmatch(r"(1\d{9})(?:\d{3})?(?:\.\d+)?", text, re.ASCII):  # seconds or milliseconds since 1970
        return datetime.fromtimestamp(int(since[1]), UTC).date()
    with suppress(ValueError):  # Python reads ten digits as a day as well, and leaves the last two out
        return date.fromisoformat(text[: 8 if text[:8].isdecimal() else 10])
    return None


NLLB = "facebook/nllb-200-distilled-600M"

_ANSWER_TOKENS = 32
_TRANSLATED_CHARACTERS, _TRANSLATION_TOKENS = 1000, 256


class QuestionAnswerer(Tool):
    """The question answering of section 3, by a model: a folder, Hub id or `smollm2`, loaded when first used; with an
    OpenAI-compatible `endpoint`, whose key comes from the environment, the name there, in `chat` or as plain text.
    """

    name = "QA"
    prompt = "qa.txt"

    def __init__(self, model: str, endpoint: str | None = None, chat: bool = False) -> None:
        self._template = (PROMPTS / "answer.txt").read_text(encoding="utf-8").removesuffix("\n")
        self._ask = _served(endpoint, model, chat) if endpoint else _local(model)
        self.at_once = 8 if endpoint else 1
        described = f"{endpoint} {model} {'chat' if chat else 'raw'}" if endpoint else model
        self.key = f"QA {described} {hashlib.blake2b(self._template.encode(), digest_size=6).hexdigest()}"

    def __call__(self, text: str) -> str | None:
        question = " ".join(text.split()).strip("\"'")
        lines = self._ask(self._template.replace(SLOT, question)).strip().splitlines() if question else []
        return (lines[0].removeprefix("Answer:").strip() if lines else "") or None

    def check(self) -> None:
        """Ask one question to see that the server responds."""
        self("What is the capital of France?")


def _served(endpoint: str, model: str, chat: bool) -> Callable[[str], str]:
    from ...llm import ModelClient

    server = ModelClient(endpoint, model, timeout=30.0)

    def ask(prompt: str) -> str:
        if chat:
            question = [{"role": "user", "content": prompt}]
            return server.answer(question, max_tokens=_ANSWER_TOKENS, temperature=0.0, attempts=1).text.strip()
        return server.complete(prompt, _ANSWER_TOKENS, temperature=0.0, stop=["\n"]).fields["text"]

    return ask


def _local(name: str) -> Callable[[str], str]:
    @cache
    def loaded() -> tuple[Any, Any]:
        from ...checkpoints import resolve_model
        from ...inference import BatchGenerator, load_model

        model, tokenizer = load_model(resolve_model(name))
        return BatchGenerator(model, tokenizer, ["\n"], reuse=False), tokenizer

    lock = Lock()

    def ask(prompt: str) -> str:
        with lock:  # a model has one machine, and a fast tokenizer one user
            generator, tokenizer = loaded()
            (written,) = generator.generate([None], [tokenizer(prompt)["input_ids"]], [_ANSWER_TOKENS])
        if isinstance(written, Exception):
            raise written
        return written.text

    return ask


def language_of(text: str) -> tuple[str, float]:
    """The language of a text, and how probable it is."""
    return _identifier().classify(text)


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


class Translation(Tool):
    """The machine translation of section 3, into English: an NLLB model. The language of a text is detected."""

    name = "MT"
    prompt = "mt.txt"
    at_once = 1

    def __init__(self, model: str = NLLB) -> None:
        codes = (files("toolalpaca_hf.toolformer.tools") / "nllb_languages.json").read_text(encoding="utf-8")
        self._codes: dict[str, str] = json.loads(codes)
        self._model_name, self._target = model, self._codes["en"]
        self.key = f"MT {model} {self._target}"
        self._lock = Lock()

    def source_of(self, text: str) -> str | None:
        """NLLB's code for the language of a text, or `None` if NLLB does not know it."""
        return self._codes.get(language_of(text)[0])

    def __call__(self, text: str) -> str | None:
        """The translation; `None` if the text is already in the target language, or in an unknown one."""
        text = " ".join(text.split()).strip("\"'")[:_TRANSLATED_CHARACTERS]
        source = self.source_of(text) if text else None
        if source is None or source == self._target:
            return None
        with self._lock:  # the tokenizer holds the source language
            tokenizer, model = self._loaded
            tokenizer.src_lang = source
            inputs = tokenizer(text, return_tensors="pt").to(model.device)
            inputs["forced_bos_token_id"] = tokenizer.convert_tokens_to_ids(self._target)
            ids = model.generate(**inputs, max_new_tokens=_TRANSLATION_TOKENS, num_beams=1, do_sample=False)
        return tokenizer.decode(ids[0], skip_special_tokens=True).strip() or None

    def check(self) -> None:
        self.source_of("")
        with self._lock:
            _ = self._loaded

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

        name = self._model_name
        fix = "pass a folder or Hub id of the NLLB family; `toolalpaca fetch --allow-bin` converts pickled weights"
        try:
            tokenizer = AutoTokenizer.from_pretrained(name)
            model = AutoModelForSeq2SeqLM.from_pretrained(name, use_safetensors=True).eval()
        except (OSError, ValueError) as error:
            why = str(error).partition("\n")[0]
            raise NotFoundError(f"no translation model ({why})", file=name, fix=fix) from None
        if tokenizer.convert_tokens_to_ids(self._target) in (None, tokenizer.unk_token_id):
            raise UnsupportedModelError(f"{name} does not know {self._target}", fix=fix)
        return tokenizer, model.to(default_device())


EMBEDDED = "embedded"
PASSAGE_WORDS = 60  # of the longest passage: a result stays well below a hundred tokens
_SUFFIXES = (".jsonl", ".parquet", ".txt")


class WikiSearch(Tool):
    """The search engine of section 3: the best passage for a query, by BM25 (bm25s), in a corpus: `.jsonl` or
    `.parquet` with `text` and perhaps `title`, `.txt`, or a folder of these; `embedded` are a few short articles. Its
    index is kept in `cache_dir`, by default under `HF_HOME`.
    """

    name = "WikiSearch"
    prompt = "wiki_search.txt"

    def __init__(self, corpus: str | Path = EMBEDDED, cache_dir: str | Path | None = None) -> None:
        from huggingface_hub import constants

        self._folder = Path(cache_dir) if cache_dir else Path(constants.HF_HOME) / "toolalpaca_hf" / "search"
        embedded = str(files("toolalpaca_hf.toolformer.tools") / "corpus")
        self._path = Path(embedded if corpus == EMBEDDED else corpus)
        self._digest = f"{digest_of(_files(self._path))}-{PASSAGE_WORDS}"
        self.key = f"WikiSearch {self._digest} 1"
        self._lock = Lock()

    def check(self) -> None:
        """Build or load the index; an [`InputError`] if the corpus cannot be read or has no text."""
        with self._lock:
            _ = self._loaded

    def __call__(self, text: str) -> str | None:
        """The passage that matches a query best, or `None`."""
        self.check()
        words, (index, texts) = _words(text), self._loaded
        found = index.retrieve([words], k=1, show_progress=False) if words else None
        return texts[found.documents[0][0]] if found and found.scores[0][0] > 0 else None

    @cached_property
    def _loaded(self) -> tuple[Any, list[str]]:
        import bm25s

        folder = self._folder / self._digest
        # Written to a temporary name and renamed, so that an existing index is complete.
        with ExitStack() as stack:
            stack.enter_context(disk_errors(self._folder, "free space or point HF_HOME elsewhere"))
            self._folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(self._folder / f"{self._digest}.lock"))
            if not folder.is_dir():
                passages = [passage for document in _documents(self._path) for passage in split_passages(*document)]
                if not any(map(_words, passages)):
                    raise InputError("holds no text", file=self._path, fix="pass a corpus with the column `text`")
                index = bm25s.BM25()
                index.index([_words(passage) for passage in passages], show_progress=False)
                with tempfile.TemporaryDirectory(dir=self._folder, ignore_cleanup_errors=True) as scratch:
                    index.save(scratch, show_progress=False)
                    lines = "".join(json.dumps(passage, ensure_ascii=False) + "\n" for passage in passages)
                    Path(scratch, "passages.jsonl").write_text(lines, encoding="utf-8", errors="replace")
                    Path(scratch).rename(folder)
        with (folder / "passages.jsonl").open(encoding="utf-8") as lines:
            return bm25s.BM25.load(folder, mmap=True, show_progress=False), [json.loads(line) for line in lines]


def split_passages(title: str, text: str, words: int = PASSAGE_WORDS) -> Iterator[str]:
    """Split a text into passages, at sentence boundaries if possible, each prefixed with its title."""
    passage: list[str] = []
    head = f"{title}: " if title else ""
    for sentence in re.split(r"(?<=[.!?])\s+|\n+", text):
        rest = sentence.split()
        while rest:
            if passage and len(rest) > words - len(passage):
                yield head + " ".join(passage)
                passage = []
            passage, rest = passage + rest[:words], rest[words:]
    if passage:
        yield head + " ".join(passage)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _files(path: Path) -> list[Path]:
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    if found := [file for file in files if file.suffix in _SUFFIXES and file.is_file()]:
        return found
    fix = f"pass a {', '.join(_SUFFIXES)} file or a folder of them"
    raise NotFoundError("no corpus to search", file=path, fix=fix)


def _documents(path: Path) -> Iterator[tuple[str, str]]:
    """Title and text of each document; rows without text are skipped."""
    for file in _files(path):
        if file.suffix == ".txt":
            title, _, text = read_text(file).partition("\n")
            yield (title.strip(), text) if text.strip() else ("", title)  # of one line
        for row in read_rows(file) if file.suffix != ".txt" else ():
            if isinstance(row, dict) and isinstance(text := row.get("text"), str) and text.strip():
                yield row["title"] if isinstance(row.get("title"), str) else "", text

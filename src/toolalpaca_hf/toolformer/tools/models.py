"""The tools that are models: question answering and translation."""

import hashlib
import json
from collections.abc import Callable
from functools import cache, cached_property
from importlib.resources import files
from threading import Lock
from typing import Any

from ...errors import NotFoundError, UnsupportedModelError
from ...precision import default_device
from .tool import PROMPTS, SLOT, Tool

NLLB = "facebook/nllb-200-distilled-600M"

_ANSWER_TOKENS = 32
_TRANSLATED_CHARACTERS, _TRANSLATION_TOKENS = 1000, 256


class QuestionAnswerer(Tool):
    """The question answering of section 3: a model that answers simple factual questions in a few words.

    It is a folder, Hub id or `smollm2`, loaded when first used; with an OpenAI-compatible `endpoint`, whose key comes
    from the environment, the name there. With `chat`, its chat completions are used.
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
            raise NotFoundError(f"no translation model ({str(error).splitlines()[0]})", file=name, fix=fix) from None
        if tokenizer.convert_tokens_to_ids(self._target) in (None, tokenizer.unk_token_id):
            raise UnsupportedModelError(f"{name} does not know {self._target}", fix=fix)
        return tokenizer, model.to(default_device())

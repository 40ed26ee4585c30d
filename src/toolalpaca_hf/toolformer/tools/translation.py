"""Translation into one language, from whichever it is."""

import json
from importlib.resources import files
from threading import Lock
from typing import Any

from ...errors import ToolAlpacaError
from ...precision import default_device
from .base import Tool

NLLB = "facebook/nllb-200-distilled-600M"
LONGEST = 1000
TOKENS = 256


class Translation(Tool):
    """The machine translation of section 3: NLLB, into English; the source language is detected.

    Args:
        model (`str`, *optional*, defaults to `"facebook/nllb-200-distilled-600M"`): A folder or Hub id of an NLLB model,
            loaded when it is first asked.
        target (`str`, *optional*, defaults to `"en"`): The language to translate into, ISO 639.

    Raises:
        [`ToolAlpacaError`]: The target is no language of NLLB's.

    Example:

    ```python
    >>> Translation()("Der Fluss ist lang.")  # doctest: +SKIP
    'The river is long.'
    >>> Translation().source_of("Der Fluss ist lang und breit.")
    'deu_Latn'
    ```
    """

    name = "MT"
    prompt = "mt.txt"
    at_once = 1

    def __init__(self, model: str = NLLB, target: str = "en") -> None:
        codes = (files(__package__) / "nllb_languages.json").read_text(encoding="utf-8")
        self._codes: dict[str, str] = json.loads(codes)
        if target not in self._codes:
            raise ToolAlpacaError(
                f"{target!r} is no language to translate into; choose among {', '.join(self._codes)}"
            )
        self._model_name, self._target = model, self._codes[target]
        self.key = f"MT {model} {self._target}"
        self._loaded: tuple[Any, Any] | None = None
        self._lock = Lock()

    def source_of(self, text: str) -> str | None:
        """NLLB's code of the language a text is in; `None` for one that NLLB does not know."""
        try:
            import py3langid
        except ModuleNotFoundError:
            raise ToolAlpacaError(
                "translating needs py3langid; run `pip install 'toolalpaca-hf[toolformer]'`"
            ) from None
        return self._codes.get(py3langid.classify(text)[0])

    def __call__(self, text: str) -> str | None:
        """The translation; `None` where the text is in the target language already, or in an unknown one."""
        text = " ".join(text.split()).strip("\"'")[:LONGEST]
        source = self.source_of(text) if text else None
        if source is None or source == self._target:
            return None
        with self._lock:  # the tokenizer holds the source language
            tokenizer, model = self._load()
            tokenizer.src_lang = source
            inputs = tokenizer(text, return_tensors="pt").to(model.device)
            ids = model.generate(
                **inputs,
                forced_bos_token_id=tokenizer.convert_tokens_to_ids(self._target),
                max_new_tokens=TOKENS,
                num_beams=1,
                do_sample=False,
            )
        return tokenizer.decode(ids[0], skip_special_tokens=True).strip() or None

    def check(self) -> None:
        """Load the model now."""
        with self._lock:
            self._load()

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

            try:
                tokenizer = AutoTokenizer.from_pretrained(self._model_name)
                model = AutoModelForSeq2SeqLM.from_pretrained(self._model_name).eval()
            except (OSError, ValueError) as error:
                raise ToolAlpacaError(
                    f"no translation model at {self._model_name} ({str(error).splitlines()[0]}); pass a folder or Hub id"
                ) from None
            if tokenizer.convert_tokens_to_ids(self._target) in (None, tokenizer.unk_token_id):
                raise ToolAlpacaError(
                    f"{self._model_name} does not know {self._target}; pass a model of the NLLB family"
                )
            self._loaded = tokenizer, model.to(default_device())
        return self._loaded

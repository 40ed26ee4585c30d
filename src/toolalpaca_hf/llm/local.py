"""A local model that answers like a server; with a schema, it can write nothing else."""

import json
import threading
from collections.abc import Sequence
from functools import cache
from typing import Any

from ..checkpoints import resolve_model, weights_of
from ..errors import ToolAlpacaError, UnsupportedModelError, needing
from .asking import Answer, ContextFull, RequestRejected
from .structured import without_thinking

with needing("a model on this machine", "corpus,toolformer"):
    import torch
    from transformers import LogitsProcessorList, PreTrainedModel, PreTrainedTokenizerBase

    from ..inference import Constrainer, end_ids, load_model

_loaded = cache(load_model)
_ONE_AT_A_TIME = threading.Lock()  # torch's random numbers are those of the whole process


class LocalModel:
    """A `transformers` model that answers one question at a time.

    Args:
        model, tokenizer: A causal language model, and its tokenizer with a chat template.
        constrained (`bool`, *optional*, defaults to `True`): Whether schemas are enforced, where possible.
        name (`str`, *optional*): The model's name in answers; defaults to where it was loaded from.

    Raises:
        [`UnsupportedModelError`]: The tokenizer has no chat template.

    Example:

    ```python
    >>> model = LocalModel.load("smollm2")  # doctest: +SKIP
    >>> model.answer([{"role": "user", "content": "Hello"}], max_tokens=8).finish_reason  # doctest: +SKIP
    'length'
    ```
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, constrained: bool = True, name: str = ""
    ) -> None:
        self.name = name or model.name_or_path or type(model).__name__
        if tokenizer.chat_template is None:
            fix = "take a model that was trained to chat"
            raise UnsupportedModelError(f"{self.name} has no chat template", fix=fix)
        self.model: Any = model.eval()
        self.tokenizer: Any = tokenizer
        self.enforces = constrained
        self._ends = sorted(end_ids(model.generation_config, tokenizer))
        self._constrainer: Constrainer | None = None

    @classmethod
    def load(cls, name: str, constrained: bool = True, dtype: str = "auto") -> "LocalModel":
        """Load a folder, a Hub id or `smollm2`; models of the same name share their weights."""
        path = resolve_model(name)
        return cls(*_loaded(path, dtype=dtype), constrained, weights_of(path))

    def answer(
        self,
        messages: list[dict[str, Any]],
        *,
        max_tokens: int = 1024,
        temperature: float | None = None,
        seed: int | None = None,
        stop: Sequence[str] = (),
        schema: dict[str, Any] | None = None,
    ) -> Answer:
        """Answer a conversation, see [`ModelClient.answer`]; the same question and seed give the same answer.

        Raises:
            [`ContextFull`], [`RequestRejected`]: The question does not fit, or the schema came to a dead end.
            [`UnsupportedModelError`]: The chat template refuses the conversation.
        """
        messages = json.loads(json.dumps(messages, ensure_ascii=False).encode("utf-8", "replace"))
        try:
            prompt = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        except Exception as error:  # a template is a program of the model's author and raises what it likes
            problem = f"the chat template of {self.name} does not take the conversation ({error})"
            raise UnsupportedModelError(problem, fix="take another model") from None
        reads = getattr(self.model.config.get_text_config(decoder=True), "max_position_embeddings", None) or 1 << 30
        room = min(max_tokens, reads - len(prompt))
        if room < 1:
            fix = "ask for less at once, or take a model with a longer context"
            raise ContextFull(f"the question has {len(prompt)} tokens and {self.name} reads {reads}", fix=fix)
        temperature = 0.7 if temperature is None else temperature
        with _ONE_AT_A_TIME, torch.inference_mode(), torch.random.fork_rng():
            torch.manual_seed(seed or 0)
            masks = self._masks(schema) if schema is not None and self.enforces else []
            ids = torch.tensor([prompt], device=self.model.device)
            try:
                written = self.model.generate(
                    ids, attention_mask=torch.ones_like(ids), max_new_tokens=room, eos_token_id=self._ends,
                    do_sample=temperature > 0, temperature=temperature or None, top_p=None, top_k=None,
                    pad_token_id=self.tokenizer.pad_token_id, logits_processor=LogitsProcessorList(masks),
                    **({"stop_strings": list(stop), "tokenizer": self.tokenizer} if stop else {}),
                )[0, len(prompt) :].tolist()  # fmt: skip
            except ToolAlpacaError as error:  # a mask that has come to its end too soon
                raise RequestRejected(str(error)) from None
        text = without_thinking(self.tokenizer.decode(written, skip_special_tokens=True))
        places = [text.index(words) for words in stop if words in text]
        ended = bool(places) or (bool(written) and written[-1] in self._ends)
        text = text[: min(places)] if places else text
        return Answer(text, "stop" if ended else "length", len(prompt), len(written), self.name, bool(masks))

    def _masks(self, schema: dict[str, Any]) -> list[Any]:
        if self._constrainer is None:
            self._constrainer = Constrainer(self.tokenizer, self._ends)
        try:
            return [self._constrainer.to_schema(schema)]
        except ToolAlpacaError:  # documents, whose schemas the executor's answers follow, may say anything
            return []

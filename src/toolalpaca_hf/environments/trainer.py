"""TRL's GRPOTrainer on environments: a group's prompt is computed once, and calls may end in text, not in a token."""

import time
import warnings
from bisect import bisect_left
from collections import defaultdict
from contextlib import suppress
from functools import partial
from typing import Any, cast

import torch
from peft import PeftModel
from torch.nn.functional import pad
from transformers import AutoTokenizer, PreTrainedModel
from trl import GRPOConfig, GRPOTrainer
from trl.chat_template_utils import supports_tool_calling

from ..formats import hopeless, react_prompt
from ..inference import BatchGenerator
from ..training import InexactModelError, SafeTrainer, continuation_logprobs, freeze, require_exact, set_templates

STOP = "\nObservation:"
UNREADABLE_AFTER = 48
PARTS = ("generation", "environment", "loss")


class _Conversation:
    """Whose KV cache is kept for its next turn."""


class EnvironmentGRPOTrainer(SafeTrainer, GRPOTrainer):
    """[`trl.GRPOTrainer`] that also trains checkpoints of the package's own prompt, and is faster where it generates
    by itself.

    A tokenizer whose template cannot render calls gets that prompt's templates. A turn of such a model is cut behind
    the label that asks for an observation, so that what is trained is what a rollout would have gone on from.

    Without vLLM, conversations are continued by [`BatchGenerator`]: the documentation that a group shares is read once
    a step, and a turn goes on from the cache of the one before. On a CPU the loss reads it once as well, see
    [`continuation_logprobs`]. Settings that these do not know (`top_p`, `top_k`, `min_p`, `repetition_penalty`,
    other `generation_kwargs`, DeepSpeed, FSDP) leave both to TRL.
    `generation_kwargs: {max_new_tokens: N}` limits a turn.

    Each step logs the seconds that it spent in `time/generation`, `time/environment` (resets, calls, rewards and
    templates) and `time/loss`.

    Args:
        model (`str`): Folder or Hub id.
        freeze_layers (`int`, *optional*): Leaves the embeddings and the first so many layers as they are; not for
            adapters.
    """

    def __init__(self, model: str, args: GRPOConfig, freeze_layers: int = 0, **kwargs: Any) -> None:
        tokenizer = self._reader = AutoTokenizer.from_pretrained(model, padding_side="left")
        if not supports_tool_calling(tokenizer):
            set_templates(tokenizer, react_prompt(int(tokenizer.init_kwargs.get("tool_hints", 0))))
        given, stop = cast(dict[str, Any], args.generation_kwargs or {}), {"stop_strings": [STOP.strip()]}
        # The stop may be of a trainer that had these arguments before.
        unread = {k for k, value in given.items() if {"max_new_tokens": value, **stop}.get(k) != value}
        self._ends_in_text = STOP.strip() in str(tokenizer.chat_template)
        if self._ends_in_text and not args.use_vllm:
            args.generation_kwargs = given | stop
        with warnings.catch_warnings():  # environments are what this class is for
            warnings.filterwarnings("ignore", message=".*'environment_factory', which is an experimental")
            super().__init__(model=model, args=args, processing_class=tokenizer, **kwargs)
        policy: Any = self.accelerator.unwrap_model(self.model)
        self._policy: Any = policy.get_base_model() if isinstance(policy, PeftModel) else policy
        if freeze_layers:
            freeze(cast(PreTrainedModel, policy), freeze_layers)
        if self._ends_in_text and not args.use_vllm:
            # `generate` wants the tokenizer beside stop strings, and TRL does not pass it.
            self._policy.generate = partial(self._policy.generate, tokenizer=tokenizer)
        shared = not (args.use_vllm or args.use_transformers_continuous_batching or self._is_vlm)
        shared = shared and not (self.is_deepspeed_enabled or self.is_fsdp_enabled)
        sampling = (args.top_p, args.top_k or 0, args.min_p, args.repetition_penalty)
        self._generates = shared and sampling == (1.0, 0, None, 1.0) and not unread
        # A checkpointed layer would be computed again when its attention is another one.
        more = args.gradient_checkpointing or self._entropy_bonus_enabled or self.aux_loss_enabled
        self._trees = False
        if shared and args.device.type == "cpu" and not more:
            with suppress(InexactModelError):  # the loss of trees has to be that of their rows
                require_exact(self._policy, "nodes")
                self._trees = True
        self._generator: BatchGenerator | None = None
        self._generator_step = -1
        self._turns: list[tuple[object, list[int], int]] = []
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def _generate_single_turn(self, prompt_ids: Any, *args: Any, **kwargs: Any) -> tuple[list[list[int]], Any]:
        start = time.perf_counter()
        if self._generates:
            completion_ids, logprobs = self._continue(prompt_ids), None
        else:
            completion_ids, logprobs = super()._generate_single_turn(prompt_ids, *args, **kwargs)
            if self._ends_in_text:
                lengths = [self._turn_length(ids) for ids in completion_ids]
                completion_ids = [ids[:length] for ids, length in zip(completion_ids, lengths, strict=True)]
                if logprobs is not None:
                    logprobs = [row[:length] for row, length in zip(logprobs, lengths, strict=True)]
        self._seconds["generation"] += time.perf_counter() - start
        return completion_ids, logprobs

    def _continue(self, prompt_ids: list[list[int]]) -> list[list[int]]:
        training, args = cast(torch.nn.Module, self.model).training, self.args
        if self._generator is None or self._generator_step != self.state.global_step:
            # Other weights: no cache holds any more. Other processes, and other steps, draw otherwise.
            seed = (args.seed + self.state.global_step) * args.world_size + args.process_index
            stops = [STOP] if self._ends_in_text else []
            self._generator = BatchGenerator(
                self._policy, self._reader, stops, len(prompt_ids), temperature=self.temperature, seed=seed
            )
            self._generator_step, self._turns = self.state.global_step, []
        self._policy.eval()
        watch, rows = self._hopeless if self._ends_in_text else None, []
        for ids in prompt_ids:
            place = next((n for n, (_, so_far, _) in enumerate(self._turns) if ids[: len(so_far)] == so_far), None)
            key, _, start = (_Conversation(), ids, len(ids)) if place is None else self._turns.pop(place)
            room = cast(int, self.max_completion_length) - (len(ids) - start)
            limit = min(int(self.generation_config.max_new_tokens or room), room)
            rows.append((start, self._generator.start(key, ids, max(1, limit), watch)))
        self._generator.run([row for _, row in rows])
        cast(torch.nn.Module, self.model).train(training)
        if failed := next((row.error for _, row in rows if row.error), None):
            raise failed
        self._turns = [(row.key, row.ids + row.written, start) for start, row in rows]
        return [row.written for _, row in rows]

    def _hopeless(self, ids: list[int]) -> bool:
        """Whether a turn has run on without a label, as an untrained model's do: it costs the others their time."""
        return hopeless(str(self._reader.decode(ids)), len(ids), UNREADABLE_AFTER)

    def _turn_length(self, ids: list[int]) -> int:
        """Tokens up to the one that completes the label; all if there is none."""
        lengths = range(1, len(ids))  # the label stays once it is there
        return 1 + bisect_left(lengths, True, key=lambda length: STOP in self._reader.decode(ids[:length]))

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Any, attention_mask: Any, logits_to_keep: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        if not self._trees or self.accelerator.unwrap_model(model) is not self.accelerator.unwrap_model(self.model):
            return super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, *args, **kwargs
            )
        rows = [ids[seen.bool()] for ids, seen in zip(input_ids, attention_mask, strict=True)]
        lengths = attention_mask[:, -logits_to_keep:].sum(1).tolist()
        groups: dict[tuple[int, ...], list[int]] = {}
        for place, (ids, length) in enumerate(zip(rows, lengths, strict=True)):
            if length:
                groups.setdefault(tuple(ids[: len(ids) - length].tolist()), []).append(place)
        nothing = torch.zeros(logits_to_keep, device=input_ids.device)
        found = [(nothing, nothing)] * len(rows)
        for prompt, places in groups.items():
            ends = [rows[place][len(prompt) :] for place in places]
            with self.accelerator.autocast():
                made = continuation_logprobs(
                    model, rows[places[0]][: len(prompt)], ends, self._policy, self.temperature
                )
            for place, values in zip(places, made, strict=True):
                logps, entropies = (pad(value, (0, logits_to_keep - len(value))) for value in values)
                found[place] = (logps, entropies)
        logps, entropies = (torch.stack(column) for column in zip(*found, strict=True))
        return logps, entropies, None

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        start, before = time.perf_counter(), sum(self._seconds.values())
        found = super()._generate_and_score_completions(inputs)
        self._seconds["environment"] += time.perf_counter() - start - (sum(self._seconds.values()) - before)
        return found

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        start, before = time.perf_counter(), sum(self._seconds.values())
        loss = super().training_step(*args, **kwargs)
        self._seconds["loss"] += time.perf_counter() - start - (sum(self._seconds.values()) - before)
        if self._step % self.current_gradient_accumulation_steps == 0:
            for part in PARTS:
                self._metrics["train"][f"time/{part}"].append(self._seconds[part])
            self._seconds.clear()
        return loss

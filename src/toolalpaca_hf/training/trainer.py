"""TRL's trainer for rows of segments, computing logits only where a label is: on a CPU they take half of the time."""

import copy
import logging
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import torch
from accelerate.utils import broadcast_object_list, is_peft_model
from datasets import Dataset, IterableDataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME, TRAINING_ARGS_NAME
from trl import SFTTrainer
from trl.chat_template_utils import add_response_schema

from ..checkpoints import check_reachable, resolve_model, weights_of
from ..errors import InputError, OptionError, ToolAlpacaError, UnsupportedModelError
from ..formats import Prompt, react_prompt
from . import loading
from .admission import InexactModelError, check_tokens, require_exact, virtual_tokens, whole_row_adapter
from .config import SegmentSFTConfig
from .conversations import features_of
from .loss import ATTENTION, completion_loss
from .prefixes import PrefixCollator, plain_rows, share_prefixes
from .proof import Proof, prove_template, require_proof, ways_of
from .results import data_fingerprint, start_or_resume, write_results
from .tokenize import CompletionOnlyCollator, SegmentTokenizer, list_batches, tokenize_dataset

logger = logging.getLogger(__name__)


class SafeTrainer(Trainer):
    """Saves no `training_args.bin`: reading settings should not need unpickling. Takes no step after the last."""

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        super()._save(output_dir, state_dict)
        (Path(output_dir or str(self.args.output_dir)) / TRAINING_ARGS_NAME).unlink(missing_ok=True)

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        # Resumed from its final checkpoint, `Trainer` would take one more step.
        if self.state.global_step < self.state.max_steps:
            super()._run_epoch(*args, **kwargs)


class SegmentSFTTrainer(SafeTrainer, SFTTrainer):
    """[`trl.SFTTrainer`] that takes rows of `segments`, of `messages`, or with `input_ids` and `labels`.

    On a CPU its loss projects only the positions that predict a trained token onto the vocabulary, which gives the
    same loss; on other devices, and for losses other than the plain one, TRL's own is used. Sequences of
    [`share_prefixes`] are computed here on any device.

    Args:
        model (`str` or `PreTrainedModel`): As in TRL, or `smollm2`.
        args ([`SegmentSFTConfig`], *optional*): TRL's or transformers' own are taken with our defaults for the rest.
        run_settings (`dict`, *optional*): From [`resolved`]: the trainer then resumes the run with these settings,
            logs what it does, and writes metrics and card with [`~SegmentSFTTrainer.save_results`].

    Raises:
        [`InexactModelError`]: A small copy of the model does not compute packed rows as it computes them one by one.
        [`OptionError`]: Trees with a loss other than the plain one, FlexAttention on a CPU, rows of [`share_prefixes`]
            without [`PrefixCollator`], or a stream without `max_steps`.
        [`InputError`]: No row is left to train on; `row_reports` says what was cut or dropped and why.
        [`UnsupportedModelError`]: Token ids beyond the embedding, or a chat template that drops tools or calls.
    """

    args: SegmentSFTConfig

    def __init__(
        self,
        model: str | PreTrainedModel,
        args: TrainingArguments | None = None,
        data_collator: Any = None,
        train_dataset: Dataset | IterableDataset | None = None,
        eval_dataset: Dataset | IterableDataset | None = None,
        processing_class: PreTrainedTokenizerBase | None = None,
        run_settings: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        args = copy.copy(SegmentSFTConfig.of(args))
        args.push_to_hub = False  # a finished run is published as a whole, with metrics and card
        if args.activation_offloading and args.device.type == "cpu":
            raise OptionError("moves activations off a GPU, and there is none", option="activation_offloading")
        self.run_settings, self.tree_attention = run_settings, ""
        self.row_reports: list[str] = []
        self._tried_step, self._weights = False, None
        self._prompt: Prompt | None = None
        self._features: set[str] | None = None
        with args.main_process_first(local=False, desc="model"):
            if isinstance(model, str):
                name, model = model, resolve_model(model)
                check_reachable(model)
                self._weights = weights_of(model) if name == "smollm2" else None
            if processing_class is None:
                path = model if isinstance(model, str) else model.config._name_or_path
                if not path:
                    problem = "the model was loaded from nowhere"
                    raise OptionError(problem, option="processing_class", fix="pass its own")
                processing_class = loading.load_tokenizer(path, args)
            else:
                loading.set_tokens(processing_class, args)
        if "messages" in loading.columns_of(train_dataset):
            processing_class.chat_template = loading.tool_template(processing_class)
            if not (args.chat_template_path or processing_class.chat_template):
                fix = "choose a chat model, pass --chat_template_path, or train on the config sft"
                raise UnsupportedModelError("the tokenizer has no chat template", fix=fix)
        if data_collator is None:
            data_collator = _collator_for(args, train_dataset, processing_class)
        rows = [plain_rows(rows, data_collator) for rows in (train_dataset, eval_dataset)]
        try:
            super().__init__(model, args, data_collator, *rows, processing_class=processing_class, **kwargs)
        except StopIteration:
            raise InputError("there is no row to train on", fix="check the file or selection") from None
        except (ValueError, TypeError, LookupError, OSError, ImportError, RuntimeError, AttributeError) as error:
            name = model if isinstance(model, str) else type(model).__name__
            raise UnsupportedModelError(f"cannot be trained with these settings: {error}", file=name) from error
        if args.freeze_layers:
            loading.freeze(self._unwrapped, args.freeze_layers)
        base = self._unwrapped.get_base_model() if is_peft_model(self._unwrapped) else self._unwrapped
        held_out = self.eval_dataset if isinstance(self.eval_dataset, dict) else {"eval": self.eval_dataset}
        longest = check_tokens(base, self._tokenizer, (self.train_dataset, *held_out.values()))
        self._plain_loss = args.device.type == "cpu" and not virtual_tokens(self._unwrapped)
        if isinstance(self.data_collator, PrefixCollator):
            self._admit_trees(base, longest)
        elif self.padding_free and args.packing_strategy != "wrapped":
            if "flash" not in base.config._attn_implementation:
                require_exact(base, "flat", longest, "set packing: false and padding_free: false")
        elif self._plain_loss:
            try:
                require_exact(base, "rows", longest)
            except InexactModelError as error:
                logger.warning("%s; TRL's own loss is computed", error)
                self._plain_loss = False

    @property
    def _unwrapped(self) -> Any:
        return self.accelerator.unwrap_model(self.model)

    def _admit_trees(self, model: PreTrainedModel, longest: int | None) -> None:
        """Reject settings and models for which loss and gradients of trees would differ from those of the rows."""
        fix, option = "set prefix_packing: false", "prefix_packing_attention"
        if change := self._more_than_the_plain_loss():
            raise OptionError("computes only the plain loss", option="prefix_packing", fix=change)
        if adapter := virtual_tokens(self._unwrapped) or whole_row_adapter(self._unwrapped):
            raise UnsupportedModelError(f"prefix_packing cannot train {adapter}", fix=fix)
        cpu, attention = self.args.device.type == "cpu", self.args.prefix_packing_attention
        if attention == "flex" and cpu:
            raise OptionError("FlexAttention has no backward pass on a CPU", option=option, fix="set nodes")
        if attention == "flex" and getattr(model.config.get_text_config(), "attention_dropout", 0):
            problem = "FlexAttention has no dropout and this model's attention_dropout is not 0"
            raise OptionError(problem, option=option, fix="set mask")
        ways = [attention] if attention != "auto" else ["nodes", "mask"] if cpu else ["mask"]
        for way in ways:
            self.tree_attention = way
            try:
                # FlexAttention sees what the dense mask shows.
                require_exact(model, "mask" if way == "flex" else way, longest, fix)
                break
            except InexactModelError:
                if way == ways[-1]:
                    raise
        model.set_attn_implementation(ATTENTION[self.tree_attention])

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, Any]:
        """Mean negative log-likelihood of the trained tokens, over `num_items_in_batch` if given."""
        trees = "nodes" in inputs
        if trees and not isinstance(self.data_collator, PrefixCollator):
            raise OptionError("a batch of trees came without PrefixCollator", option="data_collator")
        if trees and return_outputs:
            raise OptionError("prefix_packing computes a loss and no predictions", option="compute_metrics")
        if not trees and (return_outputs or self._more_than_the_plain_loss() or not self._plain_loss):
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        found = completion_loss(model, inputs, self._unwrapped, self.tree_attention)
        # At least one, as in TRL, so that a batch without trained tokens has a loss of zero.
        items = found.weights.sum() if num_items_in_batch is None else num_items_in_batch
        loss = found.total / torch.as_tensor(items).clamp(min=1)
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            # The items are those of every process, and DDP averages the gradients over processes.
            loss = loss * (self.accelerator.num_processes // self.get_tp_size())
        # TRL's own metrics, except entropy, so that logs of both trainers are comparable.
        mode = "train" if cast(torch.nn.Module, self.model).training else "eval"
        right = (found.logits.argmax(-1) == found.targets) * found.weights
        counts = torch.stack([right.sum(), found.weights.sum(), found.tokens]).unsqueeze(0)
        rights, targets, tokens = cast(torch.Tensor, self.accelerator.gather_for_metrics(counts)).sum(dim=0).tolist()
        self._metrics[mode]["mean_token_accuracy"].append(rights / max(targets, 1))
        if mode == "train":
            self._total_train_tokens += tokens // self._tp_size
        self._metrics[mode]["num_tokens"] = [self._total_train_tokens]
        return loss

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """The first call checks that model, rows and settings fit together, before anything is trained."""
        try:
            loss = super().training_step(*args, **kwargs)
        except Exception as error:
            # A batch that takes too much memory is for `auto_find_batch_size` to see.
            if self._tried_step or self.args.auto_find_batch_size or isinstance(error, ToolAlpacaError):
                raise
            why = " ".join(str(error).split())[:300]
            raise UnsupportedModelError(f"the first batch cannot be trained: {type(error).__name__}: {why}") from error
        self._tried_step = True
        return loss

    def _more_than_the_plain_loss(self) -> str:
        """What makes the loss differ from the mean negative log-likelihood and how to turn it off; else empty."""
        changes = {
            "set loss_type: nll or leave it out": self.args.loss_type != "nll",
            "leave compute_loss_func out": self.compute_loss_func is not None,
            "set label_smoothing_factor: 0": self.label_smoother is not None,
            "set router_aux_loss_coef: 0": self.aux_loss_enabled,
        }
        return next((change for change, needed in changes.items() if needed), "")

    def _prepare_dataset(
        self, dataset: Any, processing_class: Any, args: Any, packing: bool, formatting_func: Any, dataset_name: str
    ) -> Any:
        """Tokenize rows of any layout; pack training rows if configured."""
        columns = loading.columns_of(dataset)
        if "nodes" in columns:
            return dataset
        segments = "segments" in columns
        if segments:
            dataset = self._encode_segments(dataset, processing_class, args, dataset_name)
            # TRL shuffles what it packs.
            dataset = dataset.shuffle(seed=args.seed) if args.shuffle_dataset and not packing else dataset
        if not segments or packing:
            prepare = self._prepare_messages if "messages" in columns else super()._prepare_dataset
            dataset = prepare(dataset, processing_class, args, packing, formatting_func, dataset_name)
        if dataset_name == "train" and isinstance(dataset, IterableDataset):
            if next(iter(dataset), None) is None:
                raise InputError("no row is left to train on", fix="raise max_length or use shorter documentation")
            # One endless stream: a run resumed in its second pass skips what it has seen, and not what is there.
            dataset = dataset.repeat(None)
        if not (args.prefix_packing and dataset_name == "train"):
            return dataset
        with args.main_process_first(local=False, desc="prefixes"):
            packed = share_prefixes(dataset.select_columns(["input_ids", "labels"]), args.prefix_packing_tokens)
        tokens, kept = (sum(len(ids) for _, ids in list_batches(rows, "input_ids")) for rows in (dataset, packed))
        self.row_reports.append(
            f"Common beginnings computed once: {len(packed):,} sequences of {kept:,} tokens in place of {tokens:,}."
        )
        return packed

    def _encode_segments(self, dataset: Any, tokenizer: Any, args: Any, name: str) -> Any:
        # Beside the chat template, where `run` and `evaluate` find it again, in an adapter's folder too.
        tokenizer.init_kwargs["tool_hints"] = args.tool_hints
        if args.truncation_mode != "keep_start":
            raise OptionError("segments keep their start", option="truncation_mode", fix="leave it out")
        first: Any = next(iter(dataset), {}) if name == "train" else {}
        if prompt := loading.prompt_of_row(first.get("segments"), args.prompt_dir, args.tool_hints):
            if args.chat_template_path:
                raise OptionError("rows of a prompt have its own", option="chat_template_path", fix="leave it out")
            self._prompt = prompt
            loading.set_templates(tokenizer, prompt)
        settings = (args.max_length, args.overlong, args.parse_special_tokens)
        if isinstance(dataset, Dataset):
            with args.main_process_first(local=False, desc="labels"):
                dataset, report = tokenize_dataset(dataset, tokenizer, *settings, num_proc=args.dataset_num_proc)
            self.row_reports.append(f"{'Training' if name == 'train' else 'Held-out'} rows: {report}")
            return dataset
        if name == "train":
            self.row_reports.append("Training rows are streamed; rows over the limit are cut or dropped as they come.")
        return dataset.filter(SegmentTokenizer(tokenizer, *settings).keeps)

    def _prepare_messages(self, rows: Any, tokenizer: Any, args: Any, packing: bool, formatter: Any, name: str) -> Any:
        """TRL's tokenization of `messages`, if the template renders all of them."""
        template = self.chat_template or tokenizer.chat_template
        self.row_reports += loading.check_template(tokenizer, template)
        try:
            with args.main_process_first(local=False, desc="messages"):
                dataset = loading.without_absent(rows)
            dataset, reasons = loading.renderable(dataset, tokenizer, template, bool(args.assistant_only_loss))
            if name == "train" and args.assistant_only_loss:
                self._features = features_of(dataset)
            prepare, uncut, limit, longer = super()._prepare_dataset, copy.copy(args), args.max_length, 0
            uncut.max_length, uncut.shuffle_dataset = None, False
            kept: Any = prepare(dataset, tokenizer, uncut, False, formatter, name)
            cut = not packing or args.packing_strategy == "bfd"  # the others pack the pieces of a row
            if limit is not None:  # TRL cuts, and does not say what
                fitting = kept.filter(lambda ids: len(ids) <= limit, input_columns=["input_ids"])
                longer = len(kept) - len(fitting) if isinstance(rows, Dataset) else 0
                uncut.max_length = limit if cut else None
                kept = prepare(fitting if args.overlong == "drop" else kept, tokenizer, uncut, False, formatter, name)
            some = not isinstance(kept, Dataset) or len(kept)  # TRL cannot pack none
            prepared = prepare(kept, tokenizer, args, True, formatter, name) if packing and some else kept
            prepared = prepared.shuffle(seed=args.seed) if args.shuffle_dataset and not packing else prepared
        except (RuntimeError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(f"the {name} rows cannot be prepared: {' '.join(str(error).split())[:300]}") from error
        if template != tokenizer.chat_template:
            # Saved with the model: its own template may render a conversation's past otherwise than it was trained.
            with suppress(ValueError):
                add_response_schema(tokenizer)
            tokenizer.chat_template = template
        if not isinstance(dataset, Dataset):
            return prepared
        dropped = len(dataset) - len(kept)
        if longer > dropped:
            reasons += f"; {longer - dropped:,} {'cut to' if cut else 'split at'} max_length {limit}"
        if dropped:
            why = "longer than" if args.overlong == "drop" else "nothing that is trained lies within"
            reasons += f"; {dropped:,} dropped as {why} max_length {limit}"
        sentence = f"{name} rows: {len(rows):,}, {len(dataset) - dropped:,} kept{reasons}."
        if not len(kept):
            raise InputError(f"no row is left to train on: {sentence}", fix="raise max_length or change the template")
        self.row_reports.append(sentence)
        return prepared

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        if isinstance(self.data_collator, PrefixCollator):
            self._signature_columns = list(self.data_collator.padding)
        elif isinstance(self.data_collator, CompletionOnlyCollator):
            self._signature_columns = ["id", "segments", "input_ids", "labels"]

    def _get_num_items_in_batch(self, batch_samples: list, device: torch.device) -> torch.Tensor | int | None:
        """A token that several rows share and train counts once for each of them."""
        counted = [
            batch | {"shift_labels": torch.zeros(int(batch["weights"].sum()))} if "weights" in batch else batch
            for batch in batch_samples
        ]
        return super()._get_num_items_in_batch(counted, device)

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """As in transformers; with `run_settings`, from the newest complete checkpoint of the same run, if any."""
        asked = resume_from_checkpoint is None or str(resume_from_checkpoint).lower() == "true"
        named = None if asked or resume_from_checkpoint is False else Path(str(resume_from_checkpoint))
        if named and not (named / TRAINER_STATE_NAME).is_file():
            problem, fix = f"{named} holds no checkpoint", "leave it out: a run finds its own"
            raise OptionError(problem, option="resume_from_checkpoint", fix=fix)
        if self.run_settings is not None and asked:
            # The first process decides for all.
            start: list[Any] = [None]
            if self.args.process_index == 0:
                data = data_fingerprint(self.train_dataset)
                start = [start_or_resume(str(self.args.output_dir), self.run_settings, data)]
            if self.args.world_size > 1:
                broadcast_object_list(start)
            checkpoint, sentence = start[0]
            resume_from_checkpoint = str(checkpoint) if checkpoint else None
            for line in (*self.row_reports, sentence):
                self.accelerator.print(line)
        try:
            return super().train(resume_from_checkpoint, *args, **kwargs)
        except Exception as error:  # damaged files raise whatever they like
            if self._tried_step or not resume_from_checkpoint or isinstance(error, ToolAlpacaError):
                raise
            problem = f"the run cannot go on from it: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
            fix = "remove it: an earlier one is taken"
            raise InputError(problem, file=str(resume_from_checkpoint), fix=fix) from error

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        super()._save(output_dir, state_dict)
        if self._prompt is not None:
            # Not the model's own in memory, whose `generate` would then want the tokenizer.
            stopped = loading.set_stops(self._unwrapped.generation_config, self._prompt, self._tokenizer)
            stopped.save_pretrained(output_dir or str(self.args.output_dir))

    def prove_template(self) -> None:
        """Prove that the saved template gives a model the ids it is trained on, or raise; see [`prove_template`]."""
        if not self.args.prove_template or (self._prompt is None and self._features is None):
            return
        config, prompt = "chat" if self._prompt is None else "sft", self._prompt or react_prompt()
        ways, closed = ways_of(self._tokenizer, prompt, self._unwrapped.generation_config, config)
        proofs = [prove_template(way, 32, self._features) for way in ways[:1]]
        proofs += [Proof(name, 0, notes=[why]) for name, why in closed.items()]
        require_proof(proofs, self.accelerator.print)

    def save_results(self) -> dict[str, Any]:
        """Write metrics.json, log_history.json and the card of a run; see [`write_results`]."""
        metrics = write_results(self, self.run_settings or {}, self._weights)
        self.accelerator.print(f"Model, metrics.json and card are in {self.args.output_dir}.")
        return metrics

    def end(self) -> None:
        """Exit cleanly under gloo, whose threads need the GIL to release the last tensors; see docs/design.md."""
        if self.args.world_size > 1:
            self.accelerator.wait_for_everyone()
            time.sleep(1)
        super().end()


def _collator_for(args: SegmentSFTConfig, rows: Any, tokenizer: Any) -> CompletionOnlyCollator | PrefixCollator | None:
    """The collator for the prepared rows; `None` means TRL's own."""
    if args.prefix_packing:
        if isinstance(rows, IterableDataset):
            raise OptionError("a stream is not packed", option="prefix_packing", fix="set dataset_streaming: false")
        return PrefixCollator(tokenizer.pad_token_id or 0)
    if args.packing or args.padding_free or "segments" not in loading.columns_of(rows):
        return None
    if isinstance(rows, IterableDataset) and args.max_steps <= 0:
        raise OptionError("the length of a stream is not known", option="max_steps", fix="set it")
    segment_tokenizer = SegmentTokenizer(tokenizer, args.max_length, args.overlong, args.parse_special_tokens)
    return CompletionOnlyCollator(segment_tokenizer, cast(int | None, args.pad_to_multiple_of))

"""TRL's trainer with logits only where a label is, which on a CPU is where half of its time goes."""

import logging
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate.utils import is_peft_model
from datasets import Dataset
from peft.tuners.tuners_utils import BaseTuner
from transformers import PreTrainedModel
from transformers.trainer import TRAINING_ARGS_NAME
from trl import SFTTrainer

from ..errors import ToolAlpacaError
from .admission import Inexact, require_exact
from .lengths import largest
from .loss import ATTENTION, completion_loss
from .prefixes import PrefixCollator, share_prefixes
from .templates import check_template, renderable

logger = logging.getLogger(__name__)


class CompletionTrainer(SFTTrainer):
    """[`trl.SFTTrainer`] whose loss on a CPU projects only the positions that predict a trained token.

    TRL's fused head projects every position onto the vocabulary and drops the untrained ones. In a trajectory nine of
    ten positions are documentation and observations. The loss is the same; elsewhere, and with the losses that need
    more than the plain one, TRL's own is used. Sequences of [`share_prefixes`] are computed here, on any device.

    Args:
        tree_tokens (`int`, *optional*): With a [`PrefixCollator`] and rows that TRL itself prepares (`messages`): pack
            what it made of them into sequences of so many tokens.
        tree_attention (`str`, *optional*, defaults to `"auto"`): `"nodes"` computes only the visible blocks, one call
            a node; `"mask"` everything, under a dense mask; `"flex"` the visible blocks with FlexAttention, which trains on
            GPUs only. By default the first on a CPU, where the model computes it exactly, and else the second.
        freeze_layers (`int`, *optional*, defaults to 0): See [`freeze`].

    Raises:
        [`ToolAlpacaError`]: A small copy of the model does not compute packs as it computes rows one by one; FlexAttention
            is asked for on a CPU; with trees another loss than the plain one; rows of [`share_prefixes`] without
            [`PrefixCollator`]; tokens beyond the embedding; a chat template that drops tools, calls or observations.

    Attributes:
        row_reports (`list[str]`): A sentence for each set of rows that was left to TRL, with what was dropped and why.

    Example:

    ```python
    >>> trainer = CompletionTrainer(model, args=config, train_dataset=rows, data_collator=collator)  # doctest: +SKIP
    ```
    """

    def __init__(
        self,
        *args: Any,
        tree_tokens: int | None = None,
        tree_attention: Literal["auto", "nodes", "mask", "flex"] = "auto",
        freeze_layers: int = 0,
        **kwargs: Any,
    ) -> None:
        self.tree_tokens = tree_tokens
        self.row_reports: list[str] = []
        self._tried_step = False
        collator = kwargs.get("data_collator", args[2] if len(args) > 2 else None)
        for name in ("train_dataset", "eval_dataset"):
            rows = kwargs.get(name)
            if "nodes" in (getattr(rows, "column_names", None) or ()):
                if not isinstance(collator, PrefixCollator):
                    raise ToolAlpacaError(
                        f"{name} is of share_prefixes; pass data_collator=PrefixCollator(tokenizer.pad_token_id)"
                    )
            elif isinstance(rows, Dataset) and rows.format["type"] is not None:
                kwargs[name] = rows.with_format(None)
        super().__init__(*args, **kwargs)
        if freeze_layers:
            freeze(self.accelerator.unwrap_model(self.model), freeze_layers)
        base = self.accelerator.unwrap_model(self.model)
        base = base.get_base_model() if is_peft_model(base) else base
        longest = self._check_tokens(base)
        self._plain_loss = self.args.device.type == "cpu" and not self._virtual_tokens()
        if isinstance(self.data_collator, PrefixCollator):
            self._admit_trees(base, tree_attention, longest)
        elif self.padding_free and self.args.packing_strategy != "wrapped":
            if "flash" not in base.config._attn_implementation:
                require_exact(base, "flat", longest, "; set packing: false and padding_free: false")
        elif self._plain_loss:
            try:
                require_exact(base, "rows", longest)
            except Inexact as error:
                logger.warning("%s; TRL's own loss is computed", error)
                self._plain_loss = False

    def _admit_trees(self, model: PreTrainedModel, tree_attention: str, longest: int | None) -> None:
        """Settings and models under which loss and gradients of trees would not be those of the rows are refused."""
        fix = "; set prefix_packing: false"
        if change := self._more_than_the_plain_loss():
            raise ToolAlpacaError(f"prefix_packing computes only the plain loss; {change}")
        if virtual := self._virtual_tokens() or self._whole_row_adapters():
            raise ToolAlpacaError(f"prefix_packing cannot train {virtual}{fix}")
        cpu = self.args.device.type == "cpu"
        if tree_attention == "flex" and cpu:
            raise ToolAlpacaError(
                "FlexAttention has no backward pass on a CPU; set prefix_packing_attention: nodes or leave it out"
            )
        if tree_attention == "flex" and getattr(model.config.get_text_config(), "attention_dropout", 0):
            raise ToolAlpacaError(
                "FlexAttention has no dropout and this model's attention_dropout is not 0; set "
                "prefix_packing_attention: mask"
            )
        self.tree_attention = ("nodes" if cpu else "mask") if tree_attention == "auto" else tree_attention
        try:
            # FlexAttention sees what the dense mask shows.
            require_exact(model, "mask" if self.tree_attention == "flex" else self.tree_attention, longest, fix)
        except Inexact:
            if tree_attention != "auto" or self.tree_attention == "mask":
                raise
            require_exact(model, "mask", longest, fix)
            self.tree_attention = "mask"
        model.set_attn_implementation(ATTENTION[self.tree_attention])

    def _virtual_tokens(self) -> str:
        """An adapter that is no layer beside others, but tokens or attention of its own before the text."""
        model = self.accelerator.unwrap_model(self.model)
        if not is_peft_model(model) or isinstance(model.base_model, BaseTuner):
            return ""
        kind = next(iter(model.peft_config.values())).peft_type
        return f"{getattr(kind, 'value', kind)}, which puts virtual tokens before the text"

    def _whole_row_adapters(self) -> str:
        """An adapter that looks at the whole of a row to decide what it does."""
        model = self.accelerator.unwrap_model(self.model)
        configs = model.peft_config.values() if is_peft_model(model) else ()
        if any(getattr(config, "alora_invocation_tokens", None) for config in configs):
            return "aLoRA, whose adapter begins where a row invokes it"
        if any("XLORA" in str(config.peft_type).upper() for config in configs):
            return "X-LoRA, whose adapters are weighed by the whole row"
        return ""

    def _check_tokens(self, model: PreTrainedModel) -> int | None:
        """No id may lie beyond the embedding; returns the length of the longest row, where that is known."""
        embedding = model.get_input_embeddings()
        size = getattr(embedding, "num_embeddings", None)
        pad = self._tokenizer.pad_token_id
        largest_id, longest = pad or 0, 0
        for rows in (self.train_dataset, self.eval_dataset):
            if rows is None:
                continue
            if not isinstance(rows, Dataset) or "input_ids" not in rows.column_names:
                longest = None
                continue
            largest_id = max(largest_id, largest(rows, "input_ids")[0])
            known = (
                largest(rows, "position_ids")[0] + 1 if "nodes" in rows.column_names else largest(rows, "input_ids")[1]
            )
            longest = max(longest, known) if longest is not None else None
        if size is not None and largest_id >= size:
            token = self._tokenizer.convert_ids_to_tokens(largest_id)
            raise ToolAlpacaError(
                f"the token {token!r} has the id {largest_id} and the model's embedding has {size:,} rows; call "
                "model.resize_token_embeddings(len(tokenizer)) and save it, or take a token that it has "
                "(pad_token, eos_token)"
            )
        return longest

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, Any]:
        """Mean negative log-likelihood of the trained tokens; the mean is over `num_items_in_batch` where given."""
        trees = "nodes" in inputs
        if trees and not isinstance(self.data_collator, PrefixCollator):
            raise ToolAlpacaError("a batch of trees came without PrefixCollator; pass it as data_collator")
        if trees and return_outputs:
            raise ToolAlpacaError("prefix_packing computes a loss and no predictions; leave compute_metrics out")
        if not trees and (return_outputs or self._more_than_the_plain_loss() or not self._plain_loss):
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        found = completion_loss(
            model, inputs, self.accelerator.unwrap_model(model), getattr(self, "tree_attention", "")
        )
        # At least one, as in TRL, so that a batch without trained tokens has a loss of zero.
        items = found.weights.sum() if num_items_in_batch is None else num_items_in_batch
        loss = found.total / torch.as_tensor(items).clamp(min=1)
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            # The items are those of every process, and DDP averages the gradients over processes.
            loss = loss * (self.accelerator.num_processes // self.get_tp_size())
        self._log_tokens(found.tokens, found.logits.detach(), found.targets, found.weights)
        return loss

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """The first one answers whether model, rows and settings go together: before anything is trained."""
        if self._tried_step:
            return super().training_step(*args, **kwargs)
        try:
            loss = super().training_step(*args, **kwargs)
        except ToolAlpacaError:
            raise
        except Exception as error:
            why = " ".join(str(error).split())[:300]
            raise ToolAlpacaError(f"the first batch cannot be trained: {type(error).__name__}: {why}") from error
        self._tried_step = True
        return loss

    def _more_than_the_plain_loss(self) -> str:
        """What makes the loss another than the mean negative log-likelihood, and how to leave it out; else nothing."""
        if self.args.loss_type != "nll":
            return "set loss_type: nll or leave it out"
        if self.compute_loss_func is not None:
            return "leave compute_loss_func out"
        if self.label_smoother is not None:
            return "set label_smoothing_factor: 0"
        return "set router_aux_loss_coef: 0" if self.aux_loss_enabled else ""

    def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, *more: Any, **kwargs: Any) -> Any:
        """What TRL makes of `messages`, where the template shows it all, then packed."""
        columns = dataset.column_names or ()
        if "nodes" in columns:
            return dataset
        name = kwargs.get("dataset_name") or (more[-1] if more else "train")
        before, reasons = dataset, ""
        if "messages" in columns and "input_ids" not in columns:
            template = self.chat_template or processing_class.chat_template
            self.row_reports += check_template(processing_class, template)
            dataset, reasons = renderable(dataset, processing_class, template)
        try:
            prepared = super()._prepare_dataset(dataset, processing_class, args, *more, **kwargs)
        except (RuntimeError, ValueError, TypeError, KeyError) as error:
            raise ToolAlpacaError(
                f"the {name} rows cannot be prepared: {' '.join(str(error).split())[:300]}"
            ) from error
        if isinstance(before, Dataset) and "messages" in columns:
            packing = more[0] if more else kwargs.get("packing")
            dropped = 0 if packing else len(dataset) - len(prepared)
            if dropped:
                reasons += f"; {dropped:,} dropped as nothing that is trained lies within max_length {args.max_length}"
            sentence = f"{name} rows: {len(before):,}, {len(dataset) - dropped:,} kept{reasons}."
            if not len(prepared):
                raise ToolAlpacaError(
                    f"no row is left to train on: {sentence} Raise max_length or change the template"
                )
            self.row_reports.append(sentence)
        if self.tree_tokens is None:
            return prepared
        return share_prefixes(prepared.select_columns(["input_ids", "labels"]), self.tree_tokens)

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        if isinstance(self.data_collator, PrefixCollator):
            self._signature_columns = list(self.data_collator.padding)

    def _get_num_items_in_batch(self, batch_samples: list, device: torch.device) -> torch.Tensor | int | None:
        """A token that several rows share and train counts once for each of them."""
        counted = [
            batch | {"shift_labels": torch.zeros(int(batch["weights"].sum()))} if "weights" in batch else batch
            for batch in batch_samples
        ]
        return super()._get_num_items_in_batch(counted, device)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """Without `training_args.bin`: nobody should have to unpickle a file to read settings; config.yaml has them."""
        super()._save(output_dir, state_dict)
        Path(output_dir or self.args.output_dir, TRAINING_ARGS_NAME).unlink(missing_ok=True)

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        """Nothing after the last step: resumed from its last checkpoint, `transformers.Trainer` would take one more."""
        if self.state.global_step < self.state.max_steps:
            super()._run_epoch(*args, **kwargs)

    def _log_tokens(
        self, seen: torch.Tensor, logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
    ) -> None:
        """TRL's own metrics (its entropy aside), so that logs of both trainers read alike."""
        mode = "train" if self.model.training else "eval"
        counts = torch.stack([((logits.argmax(-1) == targets) * weights).sum(), weights.sum(), seen])
        right, all_targets, tokens = self.accelerator.gather_for_metrics(counts.unsqueeze(0)).sum(dim=0).tolist()
        self._metrics[mode]["mean_token_accuracy"].append(right / max(all_targets, 1))
        if mode == "train":
            self._total_train_tokens += tokens // self._tp_size
        self._metrics[mode]["num_tokens"] = [self._total_train_tokens]


def freeze(model: PreTrainedModel, layers: int) -> None:
    """Leave the embeddings and the first layers of a decoder as they are.

    No gradient is computed through them: an API's documentation costs a forward pass there and no more.

    Args:
        model (`PreTrainedModel`): A causal language model.
        layers (`int`): How many of its layers; at least one has to stay.

    Raises:
        [`ToolAlpacaError`]: The model has adapters, no more layers than that, or none that are found.

    Example:

    ```python
    >>> freeze(model, 15)  # doctest: +SKIP
    ```
    """
    if is_peft_model(model):
        raise ToolAlpacaError("freeze_layers and adapters exclude each other; use LoRA's layers_to_transform")
    stack = getattr(model.get_decoder(), "layers", None)
    if stack is None or layers >= len(stack):
        found = "no list of layers" if stack is None else f"{len(stack)} layers"
        raise ToolAlpacaError(f"freeze_layers is {layers} and {type(model).__name__} has {found}; lower it")
    for module in (model.get_input_embeddings(), *stack[:layers]):
        module.requires_grad_(False)

"""TRL's trainer with logits only where a label is, which on a CPU is where half of its time goes."""

from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from transformers.trainer import TRAINING_ARGS_NAME
from trl import SFTTrainer

from ..errors import ToolAlpacaError
from .prefixes import tree_mask
from .tokenize import IGNORE


class CompletionTrainer(SFTTrainer):
    """[`trl.SFTTrainer`] whose loss on a CPU projects only the positions that predict a trained token.

    TRL's fused head projects every position onto the vocabulary and drops the untrained ones. In a trajectory nine of
    ten positions are documentation and observations. The loss is the same; elsewhere, and with the losses that need
    more than the plain one, TRL's own is used. Trees of [`share_prefixes`] get their mask here, on any device.

    Example:

    ```python
    >>> trainer = CompletionTrainer(model, args=config, train_dataset=rows, data_collator=collator)  # doctest: +SKIP
    ```
    """

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, Any]:
        """Mean negative log-likelihood of the trained tokens; the mean is over `num_items_in_batch` where given."""
        plain = self.args.loss_type == "nll" and self.compute_loss_func is None and self.label_smoother is None
        if "branches" in inputs:
            if return_outputs or not plain or self.aux_loss_enabled:
                raise ToolAlpacaError(
                    "prefix_packing computes the plain loss alone; set loss_type: nll or leave it out"
                )
            attention = self.accelerator.unwrap_model(model).config._attn_implementation
            if attention != "sdpa":
                raise ToolAlpacaError(f"prefix_packing needs attn_implementation: sdpa, not {attention}")
            inputs = dict(inputs)
            branches = inputs.pop("branches")
            inputs["attention_mask"] = tree_mask(branches)
            seen = (branches >= 0).sum()
        elif return_outputs or not plain or self.aux_loss_enabled or inputs["input_ids"].device.type != "cpu":
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        elif "attention_mask" in inputs:
            seen = inputs["attention_mask"].sum()
        else:
            seen = inputs["input_ids"].new_tensor(inputs["input_ids"].numel())
        labels = inputs["labels"][:, 1:]
        trained = labels != IGNORE
        # The columns in which some row of the batch predicts a trained token.
        columns = trained.any(dim=0).nonzero().squeeze(-1)
        rest = {name: value for name, value in inputs.items() if name != "labels"}
        logits = model(**rest, use_cache=False, logits_to_keep=columns).logits[trained[:, columns]].float()
        targets = labels[trained]
        loss = cross_entropy(logits, targets, reduction="sum")
        # At least one, as in TRL, so that a batch without trained tokens has a loss of zero.
        items = len(targets) if num_items_in_batch is None else num_items_in_batch
        loss = loss / torch.as_tensor(items).clamp(min=1)
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            # The items are those of every process, and DDP averages the gradients over processes.
            loss = loss * self.accelerator.num_processes
        self._log_tokens(seen, logits.detach(), targets)
        return loss

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """Without `training_args.bin`: nobody should have to unpickle a file to read settings; config.yaml has them."""
        super()._save(output_dir, state_dict)
        Path(output_dir or self.args.output_dir, TRAINING_ARGS_NAME).unlink(missing_ok=True)

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        """Nothing after the last step: resumed from its last checkpoint, `transformers.Trainer` would take one more."""
        if self.state.global_step < self.state.max_steps:
            super()._run_epoch(*args, **kwargs)

    def _log_tokens(self, seen: torch.Tensor, logits: torch.Tensor, targets: torch.Tensor) -> None:
        """TRL's own metrics (its entropy aside), so that logs of both trainers read alike."""
        mode = "train" if self.model.training else "eval"
        counts = torch.stack([(logits.argmax(-1) == targets).sum(), seen.new_tensor(len(targets)), seen])
        right, all_targets, tokens = self.accelerator.gather_for_metrics(counts.unsqueeze(0)).sum(dim=0).tolist()
        self._metrics[mode]["mean_token_accuracy"].append(right / max(all_targets, 1))
        if mode == "train":
            self._total_train_tokens += tokens
        self._metrics[mode]["num_tokens"] = [self._total_train_tokens]

"""TRL's trainer with logits only where a label is, which on a CPU is where half of its time goes."""

from pathlib import Path
from typing import Any, Literal

import torch
from accelerate.utils import is_peft_model
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel
from transformers.trainer import TRAINING_ARGS_NAME
from trl import SFTTrainer

from ..errors import ToolAlpacaError
from .chosen_logits import picking
from .prefixes import PrefixCollator, predictors, share_prefixes, tree_block_mask, tree_mask
from .tokenize import IGNORE
from .tree_attention import TREE_ATTENTION, nodes_of


class CompletionTrainer(SFTTrainer):
    """[`trl.SFTTrainer`] whose loss on a CPU projects only the positions that predict a trained token.

    TRL's fused head projects every position onto the vocabulary and drops the untrained ones. In a trajectory nine of
    ten positions are documentation and observations. The loss is the same; elsewhere, and with the losses that need
    more than the plain one, TRL's own is used. Sequences of [`share_prefixes`] are computed here, on any device.

    Args:
        tree_tokens (`int`, *optional*): With a [`PrefixCollator`] and rows that TRL itself prepares (`messages`): pack
            what it made of them into sequences of so many tokens.
        tree_attention (`str`, *optional*, defaults to `"auto"`): `"nodes"` computes the visible blocks alone, one call
            a node; `"mask"` everything, under a dense mask; `"flex"` the visible blocks with FlexAttention, which trains on
            GPUs only. By default the first on a CPU, the second elsewhere.
        freeze_layers (`int`, *optional*, defaults to 0): See [`freeze`].

    Raises:
        [`ToolAlpacaError`]: With trees: the model's attention can not be exchanged, or is of a kind that sees less than the
            past; FlexAttention is asked for on a CPU; or another loss than the plain one.

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
        super().__init__(*args, **kwargs)
        if freeze_layers:
            freeze(self.accelerator.unwrap_model(self.model), freeze_layers)
        if isinstance(self.data_collator, PrefixCollator):
            model = self.accelerator.unwrap_model(self.model)
            model = model.get_base_model() if is_peft_model(model) else model
            self._refuse_what_trees_can_not(model)
            cpu = self.args.device.type == "cpu"
            if tree_attention == "flex" and cpu:
                raise ToolAlpacaError(
                    "FlexAttention has no backward pass on a CPU; set prefix_packing_attention: nodes or leave it out"
                )
            self.tree_attention = ("nodes" if cpu else "mask") if tree_attention == "auto" else tree_attention
            if self.tree_attention == "flex" and getattr(model.config.get_text_config(), "attention_dropout", 0):
                raise ToolAlpacaError(
                    "FlexAttention has no dropout and this model's attention_dropout is not 0; set "
                    "prefix_packing_attention: mask"
                )
            attention = {"nodes": TREE_ATTENTION, "mask": "sdpa", "flex": "flex_attention"}[self.tree_attention]
            model.set_attn_implementation(attention)
            if model.config._attn_implementation != attention:
                raise ToolAlpacaError(
                    f"prefix_packing can not train {type(model).__name__}, whose attention can not be exchanged; set "
                    "prefix_packing: false"
                )

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, Any]:
        """Mean negative log-likelihood of the trained tokens; the mean is over `num_items_in_batch` where given."""
        if "nodes" in inputs:
            if return_outputs:
                raise ToolAlpacaError("prefix_packing computes a loss and no predictions; leave compute_metrics out")
            inputs = dict(inputs)
            nodes, parents, weights = (inputs.pop(name) for name in ("nodes", "parents", "weights"))
            if self.tree_attention == "nodes":
                inputs["trees"] = nodes_of(nodes, parents)
            else:
                make = tree_block_mask if self.tree_attention == "flex" else tree_mask
                inputs["attention_mask"] = make(nodes, parents)
            seen = (nodes >= 0).sum()
            trained = weights > 0
            places = predictors(nodes, parents)
        elif return_outputs or self._more_than_the_plain_loss() or inputs["input_ids"].device.type != "cpu":
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        else:
            mask = inputs.get("attention_mask")
            seen = mask.sum() if mask is not None else inputs["input_ids"].new_tensor(inputs["input_ids"].numel())
            trained = inputs["labels"] != IGNORE
            trained[:, 0] = False
            weights = trained.long()
            places = torch.arange(-1, trained.shape[1] - 1, device=trained.device).expand_as(trained)
        targets = inputs.pop("labels")[trained]
        with picking(self.accelerator.unwrap_model(model), trained.nonzero()[:, 0], places[trained]):
            logits = model(**inputs, use_cache=False).logits[0].float()
        weights = weights[trained]
        loss = (cross_entropy(logits, targets, reduction="none") * weights).sum()
        # At least one, as in TRL, so that a batch without trained tokens has a loss of zero.
        items = weights.sum() if num_items_in_batch is None else num_items_in_batch
        loss = loss / torch.as_tensor(items).clamp(min=1)
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            # The items are those of every process, and DDP averages the gradients over processes.
            loss = loss * (self.accelerator.num_processes // self.get_tp_size())
        self._log_tokens(seen, logits.detach(), targets, weights)
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

    def _refuse_what_trees_can_not(self, model: PreTrainedModel) -> None:
        """Layers that see less than the past, or carry a state from branch to branch, and losses beside the plain one."""
        if mend := self._more_than_the_plain_loss():
            raise ToolAlpacaError(f"prefix_packing computes the plain loss alone; {mend}")
        config = model.config.get_text_config()
        strange = sorted(set(getattr(config, "layer_types", None) or ()) - {"full_attention"})
        strange += [name for name in ("sliding_window", "attn_logit_softcapping") if getattr(config, name, None)]
        if model._is_stateful:
            strange.append("a state beside the keys and values")
        if strange:
            raise ToolAlpacaError(
                f"prefix_packing can not train {type(model).__name__}, whose layers do not all see exactly what came before "
                f"({', '.join(strange)}); set prefix_packing: false"
            )

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        """What TRL makes of `messages`, then packed."""
        if "nodes" in (dataset.column_names or ()):
            return dataset
        prepared = super()._prepare_dataset(dataset, *args, **kwargs)
        if self.tree_tokens is None:
            return prepared
        return share_prefixes(prepared.select_columns(["input_ids", "labels"]), self.tree_tokens)

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

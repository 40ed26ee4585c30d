"""Settings of SFTConfig that every test of a trainer shares: on the CPU, in full precision, quiet."""

from typing import Any

QUIET: dict[str, Any] = {
    "use_cpu": True,
    "bf16": False,
    "report_to": "none",
    "save_strategy": "no",
    "logging_steps": 1,
    "disable_tqdm": True,
}
# Labels come from our collator, so TRL leaves the rows as they are.
LAZY: dict[str, Any] = {"dataset_kwargs": {"skip_prepare_dataset": True}, "remove_unused_columns": False}

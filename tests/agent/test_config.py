"""One configuration of rollouts: what is too small is said, and the command line has an option for each field."""

import math
from typing import Any

import pytest
from typer.main import get_command

from toolalpaca_hf.agent import RolloutConfig, RolloutLimits
from toolalpaca_hf.cli import app
from toolalpaca_hf.errors import OptionError
from toolalpaca_hf.evaluation import EvaluationConfig
from toolalpaca_hf.formats import MAX_TOOLS

OPTIONS = (
    "--model --endpoint --style --prompt --prompt-dir --tool-hints --constrained --batch-size --concurrency "
    "--temperature --dtype --seed --simulator --responder --store --real --credentials --allow-private --tool "
    "--max-tools --user-endpoint --user-model --limit --max-steps --max-new-tokens --max-tokens --max-seconds "
    "--max-unread --unreadable-after"
).split()


def test_defaults_are_those_of_a_rollout() -> None:
    assert RolloutConfig().limits == RolloutLimits() and RolloutConfig().max_tools == MAX_TOOLS
    assert EvaluationConfig("m", max_unread=1, unreadable_after=64).limits == RolloutLimits(
        unread=1, unreadable_after=64
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((name, 0) for name in ("batch_size", "concurrency", "limit", "max_steps", "max_new_tokens", "max_tokens")),
        *((name, 0) for name in ("max_tools", "max_unread", "unreadable_after")),
        *((name, -1) for name in ("tool_hints", "temperature", "max_seconds")),
        *((name, math.nan) for name in ("temperature", "max_seconds")),
    ],
)
def test_a_number_that_is_too_small_is_refused(field: str, value: Any) -> None:
    with pytest.raises(OptionError) as refused:
        RolloutConfig(**{field: value})
    assert refused.value.option == field


@pytest.mark.parametrize(
    "fields",
    [
        *({"user_model": "x"}, {"user_endpoint": "http://x"}, {"endpoint": "http://x", "constrained": True}),
        *({"style": "chat", "constrained": True}, {"style": "chat", "tool_hints": 1}),
        *({"style": "chat", "prompt": "upstream"}, {"prompt": "upstream", "tool_hints": 1}),
        {"style": "chats"},
        *({"credentials": "x"}, {"store": "x", "simulator": "http://x"}, {"prompt_dir": "x"}),
    ],
)
def test_what_does_not_fit_together_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        RolloutConfig(**fields)


@pytest.mark.parametrize("command", ["run", "evaluate"])
def test_each_field_is_an_option(command: str) -> None:
    params = {param.opts[0]: param for param in get_command(app).commands[command].params}  # type: ignore[attr-defined]  # a group has commands
    assert set(OPTIONS) <= set(params)
    assert params["--real"].is_flag and not params["--real"].secondary_opts

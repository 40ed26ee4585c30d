"""What settles a piece of work, and what leaves it to the next run."""

import pytest
from corpus.roles_double import ScriptedAsk

from toolalpaca_hf.errors import ToolAlpacaError
from toolalpaca_hf.llm import BudgetExceeded, NotAsked, RequestRejected, Unanswered, UsageTracker

HELLO = [{"role": "user", "content": "Hello"}]


@pytest.mark.parametrize(
    ("kind", "left", "left_when_setting_aside"),
    [
        (RequestRejected, False, False),
        (Unanswered, True, False),
        (NotAsked, True, True),
        (BudgetExceeded, True, True),
        (ToolAlpacaError, True, True),  # such as a cache without room
    ],
)
def test_what_is_left_to_the_next_run(kind: type[ToolAlpacaError], left: bool, left_when_setting_aside: bool) -> None:
    for settled, expected in (((RequestRejected,), left), ((RequestRejected, Unanswered), left_when_setting_aside)):
        error = kind("no answer")
        double = ScriptedAsk(lambda role, messages, attempt, error=error: error if attempt == 0 else "Good day")
        ask = UsageTracker(double, settled)
        with pytest.raises(kind):
            ask("user", HELLO, key="tides")
        assert ask.stopped is (error if expected else None)
        if expected:
            with pytest.raises(kind):
                ask("user", HELLO, key="tides", attempt=1)
        else:
            assert ask("user", HELLO, key="tides", attempt=1).text == "Good day"
        assert len(double.asked) == (1 if expected else 2), "once work is stopped, nothing more is asked for it"


def test_usage_is_counted_by_role() -> None:
    ask = UsageTracker(ScriptedAsk(lambda role, messages, attempt: "Good day"), ())
    for attempt in range(3):
        ask("user", HELLO, key="tides", attempt=attempt)
    ask("author", HELLO, key="tides")
    tokens = {"prompt_tokens": 300, "completion_tokens": 30}
    assert ask.usage["user"] == {"model": "scripted", "calls": 3, "retries": 2, "enforced": 0, **tokens}
    assert list(ask.usage) == ["user", "author"]

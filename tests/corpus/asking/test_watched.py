"""What settles a piece of work, and what leaves it to the next run."""

import pytest
from corpus.roles_double import ScriptedAsk

from toolalpaca_hf.corpus.asking.ask import AskError, OutOfBudget
from toolalpaca_hf.corpus.asking.endpoint import NotAsked, Unanswered
from toolalpaca_hf.corpus.asking.watched import WatchedAsk
from toolalpaca_hf.errors import ToolAlpacaError

HELLO = [{"role": "user", "content": "Hello"}]


@pytest.mark.parametrize(
    ("kind", "left", "left_when_setting_aside"),
    [
        (AskError, False, False),  # it would be refused again
        (Unanswered, True, False),
        (NotAsked, True, True),
        (OutOfBudget, True, True),
        (ToolAlpacaError, True, True),  # such as a cache without room
    ],
)
def test_what_is_left_to_the_next_run(kind: type[ToolAlpacaError], left: bool, left_when_setting_aside: bool) -> None:
    for set_aside_failed, expected in ((False, left), (True, left_when_setting_aside)):
        error = kind("no answer")
        double = ScriptedAsk(lambda role, messages, attempt, error=error: error if attempt == 0 else "Good day")
        ask = WatchedAsk(double, set_aside_failed)
        with pytest.raises(kind):
            ask("user", HELLO, key="tides")
        assert ask.stopped is (error if expected else None)
        if expected:
            with pytest.raises(kind):
                ask("user", HELLO, key="tides", attempt=1)
        else:
            assert ask("user", HELLO, key="tides", attempt=1).text == "Good day"
        assert len(double.asked) == (1 if expected else 2), "once work is stopped, nothing more is asked for it"

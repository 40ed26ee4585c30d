"""What one rollout may cost."""

from dataclasses import dataclass
from typing import Literal

Ended = Literal["answered", "steps", "tokens", "time", "unread", "failed"]
"""Why a rollout ended: with a response; at the limit on steps, tokens, wall time or unread turns; or on a failure."""


@dataclass(frozen=True)
class RolloutLimits:
    """What one rollout may cost; which limit ended it is recorded.

    Args:
        steps (`int`, *optional*, defaults to 10): Actions, those that could not be read included.
        turn_tokens (`int`, *optional*, defaults to 256): Tokens of one turn.
        tokens (`int`, *optional*, defaults to 2048): Tokens generated in all.
        seconds (`float`, *optional*, defaults to 600.0): Wall time, looked at between turns.
        observation (`int`, *optional*, defaults to 4000): Characters of an observation; a longer one is shown in part.
        unread (`int`, *optional*): Turns in a row with neither an action nor a response; 1 is how upstream ends. Without
            it, each is told so in an observation, up to the other limits.
        unreadable_after (`int`, *optional*): Ends a turn of a local ReAct model that cannot be expected to become an action
            or a response any more: one that has begun neither `Action:` nor `Response:` after so many tokens, has gone on to
            an observation of its own, or repeats itself over twice as many tokens. What was written until then is what counts.
            It saves an untrained model's time and may cut what would have become an action late, so published settings
            leave it off.

    Example:

    ```python
    >>> RolloutLimits(steps=3).turn_tokens
    256
    ```
    """

    steps: int = 10
    turn_tokens: int = 256
    tokens: int = 2048
    seconds: float = 600.0
    observation: int = 4000
    unread: int | None = None
    unreadable_after: int | None = None


_ENDED = {
    "answered": "answered",
    "steps": "out of steps",
    "tokens": "out of tokens",
    "time": "out of time",
    "unread": "gave up: turns without action or response",
    "failed": "failed",
    "missing": "missing",
    "not run": "not run yet",
}


def ended_words(ended: str) -> str:
    """Why a rollout ended, in words.

    Args:
        ended (`str`): As [`Result`] has it.

    Example:

    ```python
    >>> ended_words("steps")
    'out of steps'
    ```
    """
    return _ENDED.get(ended, ended)

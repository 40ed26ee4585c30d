"""One instruction and what a model made of it: what every figure of an evaluation is computed from."""

from dataclasses import dataclass

from ..schema import Api, Instruction, Trajectory


@dataclass(frozen=True)
class Attempt:
    """One instruction of a suite, and what a model made of it.

    Args:
        api ([`Api`]):
            The API it is for.
        index (`int`):
            The instruction's place in the API's `Instructions`.
        instruction ([`Instruction`]):
            What was asked, with its golden calls.
        trajectory ([`Trajectory`], *optional*):
            What the model did; `None` where there is nothing.
        ended (`str`, *optional*, defaults to `"answered"`):
            Why it ended: one of the reasons of a rollout (`answered`, `steps`, ..., `failed`), or `missing`.
        error (`str`, *optional*):
            What went wrong, where it failed.
        text (`str`, *optional*):
            A recorded verdict of a judge, as it wrote it; `None` where there is none.

    Example:

    ```python
    >>> api = Api("eval_real/tides", "Tides")
    >>> Attempt(api, 0, Instruction("eval_real/tides/0", "eval_real/tides", "High tide?", []), None, "missing").failed
    True
    ```
    """

    api: Api
    index: int
    instruction: Instruction
    trajectory: Trajectory | None
    ended: str = "answered"
    error: str = ""
    text: str | None = None

    @property
    def failed(self) -> bool:
        """Whether there is no trajectory to score; it counts in every denominator all the same."""
        return self.trajectory is None or self.ended == "failed"

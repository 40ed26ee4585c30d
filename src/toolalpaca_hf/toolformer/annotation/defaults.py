"""What the paper sets for each tool, and what else decides an annotation."""

from dataclasses import dataclass, field

from ...errors import ToolAlpacaError

THRESHOLDS = (0.5, 1.0, 2.0)
"""The filtering thresholds that the paper's table of counts has a column for."""


@dataclass(frozen=True)
class ToolSettings:
    """Where and how often calls of a tool are sampled, and which are kept (section 2 of arXiv 2302.04761).

    Args:
        tau_s (`float`, *optional*, defaults to 0.05): Sampling threshold τ_s: a position is considered where the probability
            that a call starts there is above it.
        k (`int`, *optional*, defaults to 5): At most so many positions of a text, the likeliest.
        m (`int`, *optional*, defaults to 5): Calls sampled at each.
        tau_f (`float`, *optional*, defaults to 1.0): Filtering threshold τ_f: by how much a call with its result has to
            lower the loss.

    Raises:
        [`ToolAlpacaError`]: A value is out of its range.
    """

    tau_s: float = 0.05
    k: int = 5
    m: int = 5
    tau_f: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.tau_s < 1 or self.k < 1 or self.m < 1:
            raise ToolAlpacaError(
                f"tau_s is {self.tau_s}, k {self.k} and m {self.m}; tau_s has to be from 0 to 1, k and m at least 1"
            )


DEFAULTS = {
    "Calculator": ToolSettings(tau_s=0.0, k=20, m=10, tau_f=0.5),
    "MT": ToolSettings(tau_s=0.0, k=20, m=10, tau_f=0.5),
}
"""By the name a tool is called by; every other tool has the defaults of [`ToolSettings`]."""


def settings_for(tool: str) -> ToolSettings:
    """The paper's settings of a tool.

    Args:
        tool (`str`): Its name, as it is written in a call.

    Example:

    ```python
    >>> settings_for("Calculator").k, settings_for("WikiSearch").k
    (20, 5)
    ```
    """
    return DEFAULTS.get(tool, ToolSettings())


@dataclass(frozen=True)
class AnnotationSettings:
    """What decides an annotation, besides model, tools and texts.

    Args:
        tools (`dict[str, ToolSettings]`, *optional*): Settings by tool, where they are not the paper's.
        temperature (`float`, *optional*, defaults to 1.0): Of the sampled calls.
        call_tokens (`int`, *optional*, defaults to 64): A call that has not ended after so many tokens is dropped.
        max_tokens (`int`, *optional*, defaults to 1024): A longer text is left unannotated.
        seed (`int`, *optional*, defaults to 0): Of sampling; each text has a sequence of its own.
        all_losses (`bool`, *optional*, defaults to `False`): Compute the losses of every candidate, too, that can not be kept
            at any of [`THRESHOLDS`].
        preselect (`bool`, *optional*, defaults to `False`): Ask for calls of a tool only in texts that the paper's
            heuristics (appendix A) pick for it.
        timeout (`float`, *optional*, defaults to 10.0): Seconds that one call of a tool may take.
    """

    tools: dict[str, ToolSettings] = field(default_factory=dict)
    temperature: float = 1.0
    call_tokens: int = 64
    max_tokens: int = 1024
    seed: int = 0
    all_losses: bool = False
    preselect: bool = False
    timeout: float = 10.0

    def of(self, tool: str) -> ToolSettings:
        """The settings of a tool."""
        return self.tools.get(tool) or settings_for(tool)

    def floor(self, tool: str) -> float:
        """The lowest threshold that anybody asks about; what can not reach it need not be computed."""
        return float("-inf") if self.all_losses else min(self.of(tool).tau_f, *THRESHOLDS)

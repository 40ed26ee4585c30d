"""The agent: a model that thinks, calls, reads and answers, against the simulator or the real web."""

from .backend import Backend, ContextFull, Written
from .context import STOPS, ChatContext, Context, ReactContext

__all__ = [
    "STOPS",
    "Backend",
    "ChatContext",
    "Context",
    "ContextFull",
    "ReactContext",
    "Written",
]

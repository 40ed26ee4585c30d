"""The simulator: every operation of any documented API, answered without that API."""

from .answers import FALLBACK_HEADER, RESPONDER_HEADER, Answer, Call, Responder
from .app import MAX_BODY, Simulator, create_app
from .responder_replay import UNRECORDED_HEADER
from .server import read_apis, running, serve
from .sessions import SESSION_HEADER

__all__ = [
    "FALLBACK_HEADER",
    "MAX_BODY",
    "RESPONDER_HEADER",
    "SESSION_HEADER",
    "UNRECORDED_HEADER",
    "Answer",
    "Call",
    "Responder",
    "Simulator",
    "create_app",
    "read_apis",
    "running",
    "serve",
]

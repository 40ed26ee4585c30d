"""The responder that answers only what was recorded."""

from ..errors import ToolAlpacaError
from .answers import Answer, Call, dump
from .store import Store

UNRECORDED_HEADER = "X-Toolalpaca-Unrecorded"
"""The response header of a request that is not among the recorded ones."""


class ReplayResponder:
    """Answers from a store, byte for byte; a request that was not recorded gets a 404 that says so.

    Args:
        store ([`Store`]): Recorded answers.
        name (`str`, *optional*): Whose answers; needed where the store holds those of several responders.

    Raises:
        [`ToolAlpacaError`]: The store holds no answers of that responder, or of several and none was named.
    """

    def __init__(self, store: Store, name: str | None = None) -> None:
        names = store.responders()
        listed = ", ".join(names)
        if name is None and len(names) > 1:
            raise ToolAlpacaError(
                f"{store.path} holds the answers of several responders ({listed}); name one, as in replay:{names[0]}"
            )
        if not names or (name is not None and name not in names):
            held = f"those of {listed}" if names else "none"
            raise ToolAlpacaError(
                f"{store.path} holds no answers{f' of {name}' if name else ''}, but {held}; record some first"
            )
        self.name = name or names[0]
        self._store = store

    async def __call__(self, call: Call) -> Answer:
        """Answer a call."""
        found = self._store.get(call, self.name)
        if found is None:
            reason = (
                f"{call.request.method.upper()} {call.request.path} of {call.api.api.name} is not among the answers "
                f"that {self.name} recorded in {self._store.path.name} for this session's history"
            )
            return Answer(404, dump({"error": reason}), fallback=f"unrecorded: {self.name}")
        call.session.digest = found.history_after
        return found.answer

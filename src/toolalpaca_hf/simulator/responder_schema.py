"""The responder that needs no model: answers generated from the schemas, about the items of a seeded world."""

from .answers import Answer, Call, refusal
from .arguments import Refused, read_arguments
from .reply import Reply
from .reply_list import ListReply
from .world import World


class SchemaResponder:
    """Answers from the document alone; the same API, request, session history and seed give the same bytes.

    Args:
        seed (`int`, *optional*, defaults to 0): Another seed, another world.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.name = f"schema/{seed}"
        self._worlds: dict[str, World] = {}

    def world(self, call: Call) -> World:
        """The world of the call's API."""
        found = self._worlds.get(call.api.slug)
        if found is None:
            found = self._worlds[call.api.slug] = World(call.api, self.seed)
        return found

    async def __call__(self, call: Call) -> Answer:
        """Answer a call."""
        try:
            arguments = read_arguments(call.endpoint, call.request)
        except Refused as refused:
            return refusal(call.endpoint, refused.status, str(refused))
        world = self.world(call)
        missing = world.unknown(call.endpoint, arguments, call.session)
        if missing is not None:
            return refusal(call.endpoint, 404, missing)
        reply = ListReply if world.roles[call.endpoint].action == "list" else Reply
        return reply(world, call, arguments).answer()

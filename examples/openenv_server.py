"""Simulated APIs as an OpenEnv server: one episode is one instruction, one step one call or the answer.

    python -m venv openenv-env && openenv-env/bin/pip install '.[simulator]' openenv==0.10.0
    openenv-env/bin/python examples/openenv_server.py --apis sample --split eval_simulated --port 8123
    openenv-env/bin/openenv validate --url http://127.0.0.1:8123

In an environment of its own: `openenv` needs an older `mcp` than the extra `mcp` of this package. `reset(id=...)`
begins an instruction, by default the next one; a step is `{"tool": ..., "arguments": {...}}`, or `{"response": ...}`,
which ends the episode with the reward that `toolalpaca evaluate` gives to the same calls.
"""

import argparse
import inspect
import itertools
import json
from typing import Any

import uvicorn
from openenv.core.env_server import Action, Environment, Observation, State, create_fastapi_app
from pydantic import Field

from toolalpaca_hf.environments import OpenApiEnvironment, openapi_environments, reward_parts


class ToolCall(Action):
    """A call, or the answer."""

    tool: str = ""
    arguments: dict[str, Any] = Field(default_factory=dict)
    response: str = ""


class Result(Observation):
    """An instruction with its tools, or what a call returned."""

    text: str
    tools: list[dict[str, Any]] = Field(default_factory=list)


def served(kinds: dict[str, type[OpenApiEnvironment]]) -> type[Environment]:
    """OpenEnv's environment over those of each API."""
    instructions = itertools.cycle([(kind, id) for kind in kinds.values() for id in kind.tasks])

    class Served(Environment[ToolCall, Result, State]):
        SUPPORTS_CONCURRENT_SESSIONS = True

        def __init__(self) -> None:
            super().__init__()
            self._state = State()

        def reset(
            self, seed: int | None = None, episode_id: str | None = None, id: str | None = None, **kwargs: Any
        ) -> Result:
            kind, id = next(instructions) if id is None else (kinds[id.rpartition("/")[0]], id)
            self.environment, self.messages = kind(), list[dict[str, Any]]()
            # Its class has no other functions of its own.
            self.tools = {tool.__name__: tool for tool in vars(kind).values() if inspect.isfunction(tool)}
            self._state = State(episode_id=episode_id or id, step_count=0)
            return Result(text=self.environment.reset(id=id) or "", tools=kind.tools)

        def step(self, action: ToolCall, timeout_s: float | None = None, **kwargs: Any) -> Result:
            self._state.step_count += 1
            if action.response:
                self.messages.append({"role": "assistant", "content": action.response})
                reward_parts()[0]([self.messages], [self.environment])  # hands it what was written
                return Result(text="", done=True, reward=self.environment.get_reward())
            text = f"There is no tool {action.tool!r}."
            if action.tool in self.tools:
                text = self.tools[action.tool](self.environment, **action.arguments)
            call = {"type": "function", "function": {"name": action.tool, "arguments": json.dumps(action.arguments)}}
            self.messages += [
                {"role": "assistant", "content": "", "tool_calls": [call]},
                {"role": "tool", "name": action.tool, "content": text},
            ]
            return Result(text=text)

        @property
        def state(self) -> State:
            return self._state

    return Served


def main() -> None:
    """Serve the APIs of a source."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--apis", default="sample", help="as in openapi_environments")
    parser.add_argument("--split", default="train")
    parser.add_argument("--port", type=int, default=8123)
    args = parser.parse_args()
    kinds = openapi_environments(args.apis, split=args.split)
    app = create_fastapi_app(served(kinds), ToolCall, Result, max_concurrent_envs=8, env_name="toolalpaca")
    uvicorn.run(app, port=args.port, log_level="warning")


if __name__ == "__main__":
    main()

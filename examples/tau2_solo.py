"""
τ²-bench's telecom domain in its solo mode, for Inspect: a ticket in place of a user, all tools in the agent's hands.

    inspect eval examples/tau2_solo.py --model openai-api/local/outputs/quickstart -T tasks=small --limit 5

`inspect-evals` has the domain only with a model as user. Tools, tickets, initial states, policy and scorer are its
own; only the loop without a user is here. It runs in the environment of Inspect and imports nothing of ours.
"""

import json
from typing import Literal

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset
from inspect_ai.model import ChatMessageSystem, ChatMessageUser, execute_tools, get_model
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.tool import Tool, tool
from inspect_ai.util import store_as
from inspect_evals.tau2.common.agents import StoredAgentState
from inspect_evals.tau2.telecom.dataset import get_record_to_sample, read_dataset
from inspect_evals.tau2.telecom.environment import get_environment
from inspect_evals.tau2.telecom.scorer import telecom_scorer
from inspect_evals.tau2.telecom.solver import telecom_initializer
from inspect_evals.tau2.telecom.tools import all_telecom_agent_tools
from inspect_evals.tau2.telecom.user_tools import all_telecom_user_tools
from inspect_evals.tau2.utils import TAU2_DATA_DIR

INSTANCE = "TelecomAgent"
FOLDER = TAU2_DATA_DIR / "domains" / "telecom"
ASKED = "Solve the ticket with the tools, by the policy. Some act on the customer's phone. Call `done` at the end."


@tool
def done() -> Tool:
    async def execute() -> str:
        """Say that the ticket is solved, or that nothing more can be done."""
        return "Closed."

    return execute


@solver
def solo(steps: int) -> Solver:
    async def solve(state: TaskState, generate: Generate) -> TaskState:
        tools = [make() for make in (*all_telecom_agent_tools, *all_telecom_user_tools, done)]
        for _ in range(steps):
            state.output = await get_model().generate(state.messages, tools)
            state.messages.append(state.output.message)
            if not state.output.message.tool_calls:
                break
            state.messages.extend((await execute_tools(state.messages, tools)).messages)
            get_environment().sync_tools()
            if any(call.function == "done" for call in state.output.message.tool_calls):
                break
        # The scorer looks for the agent's calls here, and for the user's among the messages.
        store_as(StoredAgentState, INSTANCE).messages = state.messages
        return state

    return solve


@task
def tau2_telecom_solo(tasks: Literal["base", "small"] = "base", steps: int = 30) -> Task:
    """The 114 tasks of the split `base`, or the 20 of `tasks_small.json`."""
    if tasks == "base":
        samples = list(read_dataset(INSTANCE))
    else:
        records = json.loads((FOLDER / "tasks_small.json").read_text("utf-8"))
        samples = [*map(get_record_to_sample(INSTANCE), records)]
    files = [FOLDER / f"{name}_solo.txt" for name in ("main_policy", "tech_support_workflow")]
    policy = "\n\n".join(file.read_text("utf-8") for file in files)
    for sample in samples:
        ticket = sample.metadata["task"]["ticket"]
        sample.input = [ChatMessageSystem(content=f"{ASKED}\n\n{policy}"), ChatMessageUser(content=ticket)]
    return Task(dataset=MemoryDataset(samples), solver=[telecom_initializer(), solo(steps)], scorer=telecom_scorer())

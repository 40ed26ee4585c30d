"""The `Features` of every config, beside `schema`, as `datasets` takes over a second to import."""

from datasets import Features, Json, List, Value


def _texts(*names: str) -> dict[str, Value]:
    return {name: Value("string") for name in names}


_TEXTS = List(Value("string"))
_STEP = _texts("thought", "action", "action_input", "observation", "log")
_SPOKEN = _texts("role", "content", "reasoning_content")

FEATURES: dict[str, Features] = {
    "apis": Features(
        {
            **_texts("id", "name", "description", "link", "category", "introduction", "function_list"),
            "documentation": Json(),
            "nl_documentation": Value("string"),
            "functions": Json(),
            "components": Value("string"),
            "authentication": _TEXTS,
            "external_tools": _TEXTS,
        }
    ),
    "trajectories": Features(
        {**_texts("id", "api", "instruction", "hint"), "steps": List(_STEP), **_texts("final_thought", "response")}
    ),
    "instructions": Features(
        {**_texts("id", "api", "instruction"), "golden_calls": List(_texts("action", "action_input"))}
    ),
    "sft": Features({**_texts("id", "api"), "segments": List({"text": Value("string"), "trainable": Value("bool")})}),
    "chat": Features(
        {
            **_texts("id", "api", "environment"),
            "messages": List({**_SPOKEN, "tool_calls": List(Json()), **_texts("name", "tool_call_id")}),
            "tools": List(Json()),
        }
    ),
}
"""`Features` of each config; `sft` is shared by the ToolAlpaca and the Toolformer repos.

`chat` has the columns of TRL's tool-calling layout and, for its choice of an environment, `environment`, the API's id.
"""

ROLLOUT_FEATURES = Features(
    {
        **FEATURES["trajectories"],
        "steps": List({**_STEP, "parallel": Value("bool"), "reasoning": Value("string")}),
        "ended": Value("string"),
        "error": Value("string"),
        "tokens": Value("int64"),
        "seconds": Value("float64"),
    }
)
"""`Features` of a run's `trajectories.parquet`: a trajectory, why it ended, and what it cost."""

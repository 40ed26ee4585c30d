"""The options of a rollout's command line to the model and the arguments it runs with."""

from collections.abc import Mapping
from typing import Any

from ..errors import ToolAlpacaError


def backend_and_arguments(options: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """What a command's options stand for.

    Args:
        options (`Mapping`):
            By the names of their parameters, see [`cli.options`].

    Returns:
        `tuple[Backend, dict]`: The model, and the arguments of [`agent.run`] besides `apis`, `backend` and `out`.

    Raises:
        [`ToolAlpacaError`]: There is no such model, options contradict each other, or something is not installed.
    """
    name, endpoint, style, seed = (options[key] for key in ("model", "endpoint", "style", "seed"))
    try:
        from ..agent import ModelUser, RolloutLimits, ScriptedUser
        from ..data import make_prompt

        if bool(options["user_endpoint"]) != bool(options["user_model"]):
            raise ToolAlpacaError("a model that plays the user needs both --user-endpoint and --user-model")
        user = (
            ModelUser(options["user_endpoint"], options["user_model"]) if options["user_endpoint"] else ScriptedUser()
        )
        temperature = options["temperature"]
        backend: Any
        if endpoint:
            from ..agent.endpoint import EndpointBackend

            backend = EndpointBackend(
                endpoint, name, style, options["concurrency"], temperature=temperature, seed=seed
            )
        else:
            from ..agent.local import load_backend

            backend = load_backend(
                name, style, options["batch_size"], temperature=temperature, seed=seed, dtype=options["dtype"]
            )
        hints = getattr(backend, "tool_hints", 0) if options["tool_hints"] is None else options["tool_hints"]
        layout = make_prompt(options["prompt"], options["prompt_dir"], tool_hints=hints)
    except ModuleNotFoundError as error:
        extra = "agent" if endpoint else "train,agent"
        raise ToolAlpacaError(f"running needs {error.name}; run `pip install 'toolalpaca-hf[{extra}]'`") from None
    names = ("simulator", "responder", "store", "seed", "real", "credentials", "limit")
    return backend, {
        **{key: options[key] for key in names},
        "private": options["allow_private"] or (),
        "tools": options["tool"] or (),
        "limits": RolloutLimits(
            steps=options["max_steps"],
            turn_tokens=options["max_new_tokens"],
            tokens=options["max_tokens"],
            seconds=options["max_seconds"],
            unread=options["max_unread"],
        ),
        "prompt": layout,
        "user": user,
    }

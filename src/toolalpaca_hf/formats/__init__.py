"""Prompts and layouts: a trajectory to segments or to chat messages, a model's text to an action."""

from .chat import NO_CALL, arguments_of, to_messages, tools_of
from .heads import Head, read_head
from .hints import bm25_scores, nearest_functions
from .parse import Turn, hopeless, parse_arguments, parse_turn
from .react import DEFAULT_FINAL_THOUGHT, GET_DETAILS, Prompt, ReactPrompt, react_prompt, trajectory_segments
from .steps import relabel, split_log, step_log
from .upstream import UpstreamPrompt, upstream_prompt

__all__ = [
    "DEFAULT_FINAL_THOUGHT",
    "GET_DETAILS",
    "Head",
    "NO_CALL",
    "Prompt",
    "ReactPrompt",
    "Turn",
    "UpstreamPrompt",
    "arguments_of",
    "bm25_scores",
    "nearest_functions",
    "parse_arguments",
    "hopeless",
    "parse_turn",
    "react_prompt",
    "read_head",
    "relabel",
    "split_log",
    "step_log",
    "to_messages",
    "tools_of",
    "trajectory_segments",
    "upstream_prompt",
]

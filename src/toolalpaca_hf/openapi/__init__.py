"""OpenAPI documents: loading, operations, tools for chat templates, natural-language descriptions."""

from .document import load_document, resolve, violations
from .documentation import Documentation, describe
from .operations import Operation, functions_of
from .tools import tool_schema

__all__ = [
    "Documentation",
    "Operation",
    "describe",
    "functions_of",
    "load_document",
    "resolve",
    "tool_schema",
    "violations",
]

"""OpenAPI documents: loading, operations, descriptions in words and as tools; validated calls over HTTP."""

from .address import AddressError, Hosts, allowed_hosts, servers_of
from .arguments import CallError
from .credentials import Credentials, credential_names, load_credentials
from .document import document_of, load_document, resolve
from .documentation import Documentation, describe, describe_raw
from .manifest import load_api
from .operations import Operation, functions_of
from .request import Request, build_request
from .send import Answer, Limits, Sender
from .tools import tool_schema
from .validity import violations

__all__ = [
    "AddressError",
    "Answer",
    "CallError",
    "Credentials",
    "Documentation",
    "Hosts",
    "Limits",
    "Operation",
    "Request",
    "Sender",
    "allowed_hosts",
    "build_request",
    "credential_names",
    "describe",
    "describe_raw",
    "document_of",
    "functions_of",
    "load_api",
    "load_credentials",
    "load_document",
    "resolve",
    "servers_of",
    "tool_schema",
    "violations",
]

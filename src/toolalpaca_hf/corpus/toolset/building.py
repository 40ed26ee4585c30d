"""Builds an API from an entry of a list, step by step, with a model."""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ... import openapi
from ...data import ListedApi, Unusable, read_api, slug
from ...errors import ToolAlpacaError
from ...llm import Ask, join_continuation, parse_items, parse_json, unfence
from ...openapi import listed, mapping, resolve, servers_of
from ...schema import REDACTED, Api
from ..config import ToolsetSettings, prompt, prompt_values, schema
from ..decontamination import BigramIndex, bigrams, words

MAX_VIOLATIONS = 10  # shown to a model at once; one mistake often makes twenty
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
_BINARY = ("binary", "byte", "base64")


def read_document(answer: str) -> dict[str, Any]:
    """Parse the OpenAPI document in an answer, JSON or YAML, fenced or not."""
    inside = unfence(answer)
    brace = inside.find("{")
    is_json = brace >= 0 and not re.search(r"^\s*(openapi|swagger|paths)\s*:", inside[:brace], re.MULTILINE)
    try:
        document = openapi.load_document(parse_json(inside) if is_json else inside)
    except ToolAlpacaError as error:
        raise ValueError(f"{str(error)[:300]}.") from None
    if not isinstance(document.get("paths"), dict):
        raise ValueError("The document has no `paths`, so it describes no function.")
    return document


def with_servers(document: dict[str, Any], server: str) -> dict[str, Any]:
    """The document with a usable server: its own if it has one, else `server`."""
    found = servers_of(document) or servers_of(document, server)
    found = [url for url in found if "{" not in url] or [server]
    return document | {"servers": [{"url": url} for url in found]}


def server_for(name: str, link: str) -> str:
    """A base URL: the API's link, as in the published corpus, else a host name that never resolves."""
    return next(iter(servers_of({"servers": [{"url": link}]})), f"https://{slug(name)}.example")


def shortcomings(document: dict[str, Any], planned: int = 0) -> list[str]:
    """What makes a document unusable: violations of OpenAPI first, then of what a corpus needs."""
    found = list(dict.fromkeys(openapi.violations(document)))[:MAX_VIOLATIONS]
    if not str(document.get("openapi", "")).startswith("3."):
        found.append("The document is not OpenAPI 3; say 3.0.0 under `openapi`.")
    operations = openapi.each_operation(document)
    if not operations:
        found.append("The document has no operation.")
    elif 2 * len(operations) < planned:
        found.append(f"The document has {len(operations)} of the {planned} functions; write an operation for each.")
    names: set[str] = set()
    for name, path, method, item, operation in operations:
        place = f"{method.upper()} {path}"
        own = openapi.text(operation.get("operationId"))
        if not _NAME.fullmatch(own):
            found.append(f"{place} needs an operationId made of letters, digits and underscores; it has {own!r}.")
        elif own in names:
            found.append(f"{place} has the operationId {own}, which another operation has already.")
        names.add(own)
        if not openapi.text(operation.get("summary")) and not openapi.text(operation.get("description")):
            found.append(f"{place} ({name}) needs a summary.")
        held = [mapping(resolve(document, operation.get("requestBody")))]
        held += map(mapping, mapping(resolve(document, operation.get("responses"))).values())
        kinds = dict.fromkeys(kind for holder in held for kind in mapping(holder.get("content")) if not _is_text(kind))
        found += [f"{place} takes or gives {kind}; only text goes in and out." for kind in kinds]
        if _is_binary([held, resolve(document, openapi.parameters_of(document, item, operation))]):
            found.append(f"{place} takes or gives binary data; only text goes in and out.")
    return list(dict.fromkeys(found))[:MAX_VIOLATIONS]


def _is_text(media_type: str) -> bool:
    kind = media_type.partition(";")[0].strip().lower()
    return kind.startswith("text/") or kind.endswith(("json", "xml", "x-www-form-urlencoded", "*/*"))


def _is_binary(node: Any) -> bool:
    if isinstance(node, dict):
        kinds = [node.get("type"), *listed(node.get("type"))]
        marked = node.get("format") in _BINARY or "contentEncoding" in node
        return "file" in kinds or ("string" in kinds and marked) or any(map(_is_binary, node.values()))
    return isinstance(node, list) and any(map(_is_binary, node))


def own_bigrams(document: dict[str, Any]) -> frozenset[int]:
    """Of a document's own words, its paths, names and descriptions: what a copy shares with it."""
    return bigrams("\n".join((*_own(document.get("paths"), True), *_own(document.get("components"), False))))


def _own(node: Any, is_named: bool) -> Iterator[str]:
    """Texts below a node; `is_named` says that its keys are names the document chose."""
    if isinstance(node, list):
        for value in node:
            yield from _own(value, False)
    elif isinstance(node, dict):
        for key, value in node.items():
            if is_named:
                yield key.replace("/", " ")
            if isinstance(value, str) and key in ("operationId", "summary", "description", "name"):
                yield value
            else:
                yield from _own(value, key in ("properties", "schemas"))


MOST_FUNCTIONS = 12
_TYPES = ("string", "integer", "number", "boolean", "array", "object")


def read_functions(text: str) -> list[dict[str, Any]]:
    """Parse the planned functions in an answer, in any of the layouts that models write."""
    functions: dict[str, dict[str, Any]] = {}
    for item in parse_items(text, "functions"):
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            continue
        name = _camel_case(item["name"])
        if name and name not in functions:
            functions[name] = {
                "name": name,
                "description": str(item.get("description") or name),
                "parameters": _read_parameters(item.get("parameters")),
                "output": str(item.get("output") or ""),
            }
    if not functions:
        parse_json(text)  # says what is wrong where it is no JSON
        raise ValueError('There is no function in it; it has to be {"functions": [{"name": ..., ...}, ...]}.')
    return list(functions.values())[:MOST_FUNCTIONS]


def _read_parameters(found: Any) -> list[dict[str, Any]]:
    if isinstance(found, dict):  # by name, or the schema of an object, as tools have it
        needed = listed(found.get("required"))
        found = mapping(found.get("properties")) if found.get("type") == "object" else found
        parts = ((name, part if isinstance(part, dict) else {"description": part}) for name, part in found.items())
        found = [{"name": name} | part | ({"required": True} if name in needed else {}) for name, part in parts]
    parameters = []
    for item in listed(found):
        item = {"name": item} if isinstance(item, str) else item
        if isinstance(item, dict) and isinstance(item.get("name"), str) and item["name"].strip():
            kind = item.get("type") if item.get("type") in _TYPES else "string"
            given = {"name": item["name"].strip(), "type": kind, "required": item.get("required") is True}
            parameters.append({**given, "description": str(item.get("description") or "")})
    return parameters


def _camel_case(name: str) -> str:
    """`Find a tide` and `find_tide` become `findTide`; `FindTide2` stays as it is."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    first, *rest = re.findall(r"[A-Za-z0-9]+", plain) or [""]
    if not rest:
        return first if first[:1].isalpha() else ""
    return first[:1].lower() + first[1:] + "".join(word[:1].upper() + word[1:] for word in rest)


def function_list(functions: list[dict[str, Any]]) -> str:
    """Planned functions as text, in the layout of the published `Functions`."""
    texts = []
    for number, function in enumerate(functions, 1):
        given = {}
        for parameter in function["parameters"]:
            needed = "Required" if parameter["required"] else "Optional"
            given[parameter["name"]] = f"{needed}. {parameter['type'].capitalize()}. {parameter['description']}"
        about = f"{number}. Name: {function['name']}\nDescription: {function['description']}\n"
        texts.append(f"{about}Input: {json.dumps(given, ensure_ascii=False)}\nOutput: {function['output']}")
    return "\n\n".join(texts)


_REFUSAL = re.compile(r"(?i)(i['’]m|i am|we['’]re) (sorry|unable)|sorry,|i (can ?not|can['’]t|won['’]t) |as an ai")

PROMPTS = ("introduction.txt", "functions.txt", "document.txt", "repair.txt", "continue.txt", "example.json")


@dataclass(frozen=True)
class BuiltApi:
    """The API built from an entry, or why it was set aside; `violations` lists what was wrong with the answers."""

    api: Api | None
    set_aside: str | None
    attempts: dict[str, int] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)


Messages = list[dict[str, str]]


def build_api(entry: ListedApi, ask: Ask, settings: ToolsetSettings | None = None) -> BuiltApi:
    """Build introduction, functions, OpenAPI document and documentation of an API; nothing a model writes raises."""
    author = _Author(entry, ask, settings or ToolsetSettings())
    api, aside = None, None
    try:
        introduction = author.introduction()
        functions = author.functions(introduction)
        api = _api(entry, introduction, functions, author.document(introduction, functions))
    except Unusable as reason:
        aside = str(reason)
    return BuiltApi(api, aside, dict(author.asked), author.violations)


class _Author:
    def __init__(self, entry: ListedApi, ask: Ask, settings: ToolsetSettings) -> None:
        self.entry, self.ask, self.settings = entry, ask, settings
        self.asked: Counter[str] = Counter()
        self.violations: list[str] = []

    def introduction(self) -> str:
        messages = [{"role": "user", "content": prompt("introduction").format(**_facts(self.entry))}]
        return self._step("introduction", messages, _read_introduction)

    def functions(self, introduction: str) -> list[dict[str, Any]]:
        facts, example = _facts(self.entry), prompt_values("example")
        shown = _facts(ListedApi(**example["entry"])) | {"introduction": example["introduction"]}
        plan = {"functions": example["functions"]}
        messages = _with_example("functions", shown, plan, facts | {"introduction": introduction})
        names = {function["name"] for function in example["functions"]}

        def read(text: str) -> list[dict[str, Any]]:
            functions = read_functions(text)
            if any(function["name"] in names for function in functions):
                raise ValueError(f"These are functions of {example['entry']['name']}, which was only an example.")
            return functions

        return self._step("functions", messages, read, schema("functions"))

    def document(self, introduction: str, functions: list[dict[str, Any]]) -> dict[str, Any]:
        example, server = prompt_values("example"), server_for(self.entry.name, self.entry.link)
        shown_document = BigramIndex()
        shown_document.add(own_bigrams(example["document"]))

        def read(text: str) -> dict[str, Any]:
            document = with_servers(read_document(text), server)
            if example["entry"]["link"] in servers_of(document):
                document = document | {"servers": [{"url": server}]}
            if found := shortcomings(document, len(functions)):
                raise ValueError("\n".join(found))
            if shown_document.nearest(own_bigrams(document))[0] >= self.settings.copied:
                raise ValueError(f"This is the document of {example['entry']['name']}, which was only an example.")
            return document

        shown = {"name": example["entry"]["name"], "server": example["entry"]["link"]}
        shown |= {"introduction": example["introduction"], "functions": function_list(example["functions"])}
        given = {"name": self.entry.name, "server": server}
        given |= {"introduction": introduction, "functions": function_list(functions)}
        messages = _with_example("document", shown, example["document"], given)
        names = {"operation_id": {"type": "string", "enum": [function["name"] for function in functions]}}
        form = schema("document")
        form = form | {"$defs": form["$defs"] | names}
        return self._step("document", messages, read, form)

    def _step(
        self, step: str, messages: Messages, read: Callable[[str], Any], form: dict[str, Any] | None = None
    ) -> Any:
        """Ask until the answer parses; each failure goes back to the model with its reason."""
        conversation, reason = messages, ""
        for attempt in range(self.settings.attempts):
            self.asked[step] += 1
            text = self._whole(step, conversation, attempt, form)
            if text is None:
                self.violations.append(f"{step}: the model refused")
                reason, conversation = "the model refused", messages
                continue
            try:
                return read(text)
            except ValueError as error:
                reason = str(error)
            self.violations += [f"{step}: {sentence}" for sentence in reason.splitlines()]
            repair = prompt("repair").format(violations="\n".join(f"- {line}" for line in reason.splitlines()))
            # Servers refuse messages without content.
            said = {"role": "assistant", "content": text if text.strip() else "(nothing)"}
            conversation = [*messages, said, {"role": "user", "content": repair}]
        raise Unusable(f"no usable {step} in {self.settings.attempts} attempts; the last: {reason.splitlines()[0]}")

    def _whole(self, step: str, messages: Messages, attempt: int, form: dict[str, Any] | None) -> str | None:
        """One answer with its continuations; `None` if the model refuses."""
        options: dict[str, Any] = {"attempt": attempt, "key": f"{slug(self.entry.name)}/{step}"}
        options["max_tokens"] = getattr(self.settings, f"{step}_tokens")
        answer = self.ask("author", messages, schema=form if self.settings.structured else None, **options)
        # Some begin with an apology and do it then.
        declines = _REFUSAL.match(answer.text.strip()) and "{" not in answer.text
        if answer.finish_reason in ("refusal", "content_filter") or declines:
            return None
        if form is None:
            # Of what was cut, up to the last sentence.
            end = max(map(answer.text.rfind, ".!?")) if answer.finish_reason == "length" else 0
            return answer.text[: end + 1] if end > 0 else answer.text
        text = unfence(answer.text)
        for _ in range(self.settings.continuations):
            if answer.finish_reason != "length" or not text.strip() or _is_complete(text):
                break
            self.asked["continuations"] += 1
            so_far, go_on = {"role": "assistant", "content": text}, {"role": "user", "content": prompt("continue")}
            # A schema would have the model begin a new document.
            answer = self.ask("author", [*messages, so_far, go_on], **options)
            text = join_continuation(text, answer.text)
        return text


def _is_complete(text: str) -> bool:
    with suppress(ValueError):
        parse_json(text)
        return True
    return False


def _read_introduction(text: str) -> str:
    introduction = " ".join(unfence(text).split()).strip("\"'* ")
    if len(words(introduction)) < 10:
        raise ValueError("The introduction is too short; write 60 to 120 words.")
    return introduction


def _api(entry: ListedApi, introduction: str, functions: list[dict[str, Any]], document: dict[str, Any]) -> Api:
    """Goes through the raw layout, so that a reader of the written file gets the same API."""
    raw = {
        "Name": entry.name,
        "Description": entry.description,
        "Link": entry.link,
        "Category": entry.category,
        "Introduction": introduction,
        "Functions": function_list(functions),
        "Documentation": document,
        "Authentication": dict.fromkeys(openapi.credential_names(document), REDACTED),
    }
    return read_api(openapi.describe_raw(raw), f"train/{slug(entry.name)}")


def _facts(entry: ListedApi) -> dict[str, str]:
    """An entry's facts for a prompt; lists are untrusted, so each is short and on one line."""
    given = {"name": entry.name, "category": entry.category, "description": entry.description}
    return {key: " ".join(value.split())[:400] or "not said" for key, value in given.items()}


def _with_example(name: str, shown: dict[str, str], answer: Any, given: dict[str, str]) -> Messages:
    """A question by the prompt of this name, after the example's and the answer to it."""
    return [
        {"role": "user", "content": prompt(name).format(**shown)},
        {"role": "assistant", "content": json.dumps(answer, ensure_ascii=False)},
        {"role": "user", "content": prompt(name).format(**given)},
    ]

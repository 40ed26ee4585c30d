"""Converts Swagger 2.0 to OpenAPI 3.0 when a document is loaded."""

import re
from collections.abc import Callable, Container
from typing import Any

METHODS = ("get", "put", "post", "delete", "options", "head", "patch")
PLACES = {"#/definitions/": "#/components/schemas/", "#/responses/": "#/components/responses/"}
PLACES |= {"#/parameters/": "#/components/parameters/"}
SEPARATED = {"ssv": "spaceDelimited", "pipes": "pipeDelimited"}
FLOWS = {"accessCode": "authorizationCode", "application": "clientCredentials"}
MOVED = ("swagger", "host", "basePath", "schemes", "definitions", "parameters", "responses", "securityDefinitions")
MOVED += ("consumes", "produces", "paths", "components")
# What of a parameter does not describe its value.
KEPT_BESIDE = ("name", "in", "description", "required", "collectionFormat", "allowEmptyValue", "schema")
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
IN_BODY = ("body", "formData")


def to_openapi3(document: dict[str, Any], deref: Callable[[dict[str, Any], Any], dict[str, Any]]) -> dict[str, Any]:
    """Convert Swagger 2.0 to OpenAPI 3.0; `x-not-converted` lists what has no counterpart."""
    if not str(document.get("swagger", "")).startswith("2"):
        return document
    return _Conversion(document, deref).converted()


class _Conversion:
    def __init__(self, document: dict[str, Any], deref: Callable[[dict[str, Any], Any], dict[str, Any]]) -> None:
        self.document, self.deref = document, deref
        self.lost: list[str] = []
        self.waiting: list[tuple[str, dict[str, Any]]] = []
        self.names = set(_mapping(document.get("definitions")))
        self.inner: dict[str, tuple[str, Any]] = {}  # names and schemas of what is inside of operations, by reference

    def converted(self) -> dict[str, Any]:
        old = self.document
        made: dict[str, Any] = {"openapi": "3.0.3"} | _without(old, MOVED)
        if servers := self._servers(old.get("schemes")):
            made.setdefault("servers", servers)
        paths = _mapping(old.get("paths")).items()
        made["paths"] = {path: self._item(path, item) if isinstance(item, dict) else item for path, item in paths}
        parameters = {n: p for n, p in _named(old.get("parameters")).items() if p.get("in") not in IN_BODY}
        parts = {
            "schemas": _mapping(old.get("definitions")),
            "responses": self._responses(old.get("responses"), old.get("produces")),
            "parameters": {name: self._parameter(name, value) for name, value in parameters.items()},
            "securitySchemes": {n: self._security(v) for n, v in _named(old.get("securityDefinitions")).items()},
        }
        components = dict(_mapping(old.get("components")))
        components |= {key: _mapping(components.get(key)) | value for key, value in parts.items() if value}
        made, components = self._with_moved_refs(made), self._with_moved_refs(components)
        while self.waiting:  # not by recursion: one may lead to another without end
            ref, target = self.waiting.pop()
            schema = self._parameter(ref, target)["schema"] if "in" in target else target
            self.inner[ref] = self.inner[ref][0], self._with_moved_refs(schema)
        if self.inner:
            components["schemas"] = _mapping(components.get("schemas")) | dict(self.inner.values())
        made |= {"components": components} if components else {}
        return made | ({"x-not-converted": self.lost} if self.lost else {})

    def _servers(self, schemes: Any) -> list[dict[str, Any]]:
        host, base = (said if isinstance(said, str) else "" for said in map(self.document.get, ("host", "basePath")))
        # Some documents have a whole URL in either place.
        scheme, _, host = host.strip().strip("/").rpartition("://")
        base = re.sub(r"^\w+://[^/]*", "", base.strip()).strip("/")
        base = base and f"/{base}"
        if not host:
            return [{"url": base}] if base else []
        kinds = [kind.lower() for kind in _kinds(schemes if isinstance(schemes, list) else [schemes])]
        kinds = kinds or [scheme.lower()] if scheme else kinds
        unknown = [kind for kind in kinds if kind not in ("http", "https")]
        self.lost += [f"schemes: {kind} is not converted; only http and https are called" for kind in unknown]
        # Prefer https: the calls carry keys.
        kinds = [kind for kind in ("https", "http") if kind in kinds] or ["https"]
        return [{"url": f"{kind}://{host}{base}"} for kind in kinds]

    def _item(self, path: str, item: dict[str, Any]) -> dict[str, Any]:
        item = self._followed(item) | _without(item, ("$ref",))
        shared = self._parameters(item)
        made = {key: value for key, value in item.items() if key.lower() not in METHODS and key != "parameters"}
        made |= self._plain_parameters(path, shared)
        for key, operation in item.items():
            if key.lower() in METHODS and isinstance(operation, dict):
                made[key] = self._operation(f"{key.upper()} {path}", self._followed(operation), shared)
        return made

    def _parameters(self, holder: dict[str, Any]) -> list[dict[str, Any]]:
        listed = holder.get("parameters")
        return [self._followed(each) for each in listed] if isinstance(listed, list) else []

    def _followed(self, node: Any) -> dict[str, Any]:
        """What a node refers to; the node itself if it refers to nothing in the document."""
        return self.deref(self.document, node) or _mapping(node)

    def _plain_parameters(self, place: str, parameters: list[dict[str, Any]]) -> dict[str, Any]:
        plain = [self._parameter(place, p) for p in parameters if p.get("in") not in IN_BODY]
        return {"parameters": plain} if plain else {}

    def _operation(self, place: str, old: dict[str, Any], shared: list[dict[str, Any]]) -> dict[str, Any]:
        made = _without(old, ("parameters", "responses", "consumes", "produces", "schemes"))
        own = self._parameters(old)
        names = {(p.get("name"), p.get("in")) for p in own}
        inherited = [] if any(p.get("in") in IN_BODY for p in own) else [p for p in shared if p.get("in") in IN_BODY]
        every = [*[p for p in inherited if (p.get("name"), p.get("in")) not in names], *own]
        made |= self._plain_parameters(place, own)
        if body := self._body(place, every, _kinds(old.get("consumes", self.document.get("consumes")))):
            made.setdefault("requestBody", body)
        produces = old.get("produces", self.document.get("produces"))
        made["responses"] = self._responses(old.get("responses"), produces)
        if isinstance(old.get("schemes"), list) and (servers := self._servers(old["schemes"])):
            made.setdefault("servers", servers)
        return made

    def _body(self, place: str, every: list[dict[str, Any]], consumes: list[str]) -> dict[str, Any] | None:
        whole = [p for p in every if p.get("in") == "body"]
        fields = [p for p in every if p.get("in") == "formData"]
        if len(whole) > 1 or (whole and fields):
            self.lost.append(f"{place}: more than one body is declared; only the first is converted")
        if whole:
            kinds = [kind for kind in consumes if kind not in FORMS] or ["application/json"]
            made: dict[str, Any] = {"content": {kind: {"schema": _mapping(whole[0].get("schema"))} for kind in kinds}}
            return made | {key: whole[0][key] for key in ("description", "required") if key in whole[0]}
        if not fields:
            return None
        properties, encoding = {}, {}
        for field in fields:
            name = str(field.get("name", ""))
            properties[name] = self._schema(place, field)
            if isinstance(field.get("description"), str):
                properties[name] = {"description": field["description"]} | properties[name]
            if field.get("type") == "array":
                encoding[name] = self._list_style(place, field)
        required = [str(field.get("name")) for field in fields if field.get("required") is True]
        schema = {"type": "object", "properties": properties} | ({"required": required} if required else {})
        files = any(field.get("type") == "file" for field in fields)
        kinds = [FORMS[1]] if files else [kind for kind in consumes if kind in FORMS] or [FORMS[0]]
        media = {"schema": schema} | ({"encoding": encoding} if encoding else {})
        return {"content": dict.fromkeys(kinds, media)} | ({"required": True} if required else {})

    def _schema(self, place: str, holder: dict[str, Any]) -> dict[str, Any]:
        made = {key: value for key, value in holder.items() if key not in KEPT_BESIDE and not key.startswith("x-")}
        if made.get("type") == "file":
            made |= {"type": "string", "format": "binary"}
        if isinstance(made.get("items"), dict) and "collectionFormat" in made["items"]:
            self.lost.append(f"{place}: the collectionFormat of lists inside `{holder.get('name')}` is not converted")
            made["items"] = _without(made["items"], ("collectionFormat",))
        return made

    def _parameter(self, place: str, old: dict[str, Any]) -> dict[str, Any]:
        if "$ref" in old or not old:
            return old
        made = {key: old[key] for key in ("name", "in", "description", "required", "allowEmptyValue") if key in old}
        made |= {key: value for key, value in old.items() if key.startswith("x-")}
        # Some documents mix in what only OpenAPI 3 has.
        beside = {key: old[key] for key in ("style", "explode") if key in old}
        made["schema"] = _without(_mapping(old.get("schema")) or self._schema(place, old), beside)
        listed = old.get("type") == "array" and "style" not in old
        return made | beside | (self._list_style(place, old) if listed else {})

    def _list_style(self, place: str, old: dict[str, Any]) -> dict[str, Any]:
        """The `style` and `explode` of a list's `collectionFormat`; a path and a header only have commas."""
        how, separated = str(old.get("collectionFormat", "csv")), old.get("in") in ("query", "formData")
        if how not in ("csv", "multi", *(SEPARATED if separated else ())):
            self.lost.append(f"{place}: collectionFormat {how} of `{old.get('name')}` becomes csv")
        return {"style": SEPARATED.get(how, "form"), "explode": how == "multi"} if separated else {}

    def _responses(self, declared: Any, produces: Any) -> dict[str, Any]:
        return {str(code): self._response(value, produces) for code, value in _named(declared).items()}

    def _response(self, old: dict[str, Any], produces: Any) -> dict[str, Any]:
        if not str(old.get("$ref", "")).startswith("#/responses/"):
            old = self._followed(old)
        if "$ref" in old or "content" in old:
            return old
        made = _without(old, ("schema", "examples", "headers"))
        if isinstance(old.get("headers"), dict):
            headers = _named(old["headers"])
            made["headers"] = {name: {"schema": self._schema("a header", value)} for name, value in headers.items()}
        schema, examples = old.get("schema"), _mapping(old.get("examples"))
        if _mapping(schema).get("type") == "file":
            schema = {"type": "string", "format": "binary"}
        media = {"schema": schema} if isinstance(schema, dict) else {}
        if media or examples:
            kinds = _kinds(produces) or list(examples) or ["application/json"]
            bare = {_bare(kind) for kind in kinds}  # an example may leave out the charset
            kinds = [*kinds, *(kind for kind in examples if "/" in kind and _bare(kind) not in bare)]
            shown = {_bare(kind): {"example": value} for kind, value in examples.items()}
            made["content"] = {kind: media | shown.get(_bare(kind), {}) for kind in kinds}
        return made

    def _security(self, old: dict[str, Any]) -> dict[str, Any]:
        if old.get("type") == "basic":
            return _without(old, ("type",)) | {"type": "http", "scheme": "basic"}
        if old.get("type") != "oauth2":
            return old
        flow = str(old.get("flow", "implicit"))
        made = {key: old[key] for key in ("authorizationUrl", "tokenUrl") if key in old}
        flows = {FLOWS.get(flow, flow): made | {"scopes": _mapping(old.get("scopes"))}}
        return {"type": "oauth2", "flows": flows} | {key: old[key] for key in ("description",) if key in old}

    def _with_moved_refs(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._with_moved_refs(item) for item in value]
        if not isinstance(value, dict):
            return value
        found = {key: self._with_moved_refs(item) for key, item in value.items()}
        if isinstance(found.get("$ref"), str):
            found["$ref"] = self._moved(found["$ref"])
        if found.get("x-nullable") is True:
            found["nullable"] = True
        # A schema's, not an example's; 3.0 has an object.
        if isinstance(found.get("discriminator"), str) and {"properties", "allOf"} & found.keys():
            found["discriminator"] = {"propertyName": found["discriminator"]}
        return found

    def _moved(self, ref: str) -> str:
        """Where a reference leads now; what is inside of an operation, a parameter or a response becomes a schema."""
        old = next((place for place in PLACES if ref.startswith(place)), "")
        inside = ref.startswith("#/paths/") or (old not in ("", "#/definitions/") and "/" in ref[len(old) :])
        target = self.deref(self.document, {"$ref": ref}) if inside else {}
        if not target:
            return PLACES.get(old, "") + ref[len(old) :]
        holder, _, key = ref.rpartition("/")
        if isinstance(further := _mapping(self.deref(self.document, {"$ref": holder}).get(key)).get("$ref"), str):
            return self._moved(further)
        if ref not in self.inner:
            name = re.sub(r"\W+", "_", ref[2:])
            while name in self.names:
                name += "_"
            self.names.add(name)
            self.inner[ref] = name, {}
            self.waiting.append((ref, target))
        return f"#/components/schemas/{self.inner[ref][0]}"


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _without(value: dict[str, Any], keys: Container[str]) -> dict[str, Any]:
    return {key: part for key, part in value.items() if key not in keys}


def _named(value: Any) -> dict[str, dict[str, Any]]:
    return {name: _mapping(item) for name, item in _mapping(value).items()}


def _kinds(value: Any) -> list[str]:
    return [kind for kind in value if isinstance(kind, str)] if isinstance(value, list) else []


def _bare(kind: str) -> str:
    return kind.partition(";")[0].strip().lower()

"""Converts Swagger 2.0 to OpenAPI 3.0 when a document is loaded."""

import re
from collections.abc import Container
from typing import Any

from .document import deref, listed, mapping, text

METHODS = ("get", "put", "post", "delete", "options", "head", "patch")
PLACES = {"#/definitions/": "#/components/schemas/"}
PLACES |= {f"#/{kind}/": f"#/components/{kind}/" for kind in ("responses", "parameters")}
SEPARATED = {"ssv": "spaceDelimited", "pipes": "pipeDelimited"}
FLOWS = {"accessCode": "authorizationCode", "application": "clientCredentials"}
MOVED = ("swagger", "host", "basePath", "schemes", "definitions", "parameters", "responses", "securityDefinitions")
MOVED += ("consumes", "produces", "paths", "components")
# What of a parameter does not describe its value.
KEPT_BESIDE = ("name", "in", "required", "collectionFormat", "allowEmptyValue", "schema")
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
IN_BODY = ("body", "formData")


def to_openapi3(document: dict[str, Any]) -> dict[str, Any]:
    """Convert Swagger 2.0 to OpenAPI 3.0; `x-not-converted` lists what has no counterpart."""
    return _Conversion(document).converted() if str(document.get("swagger", "")).startswith("2") else document


class _Conversion:
    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.lost: list[str] = []
        self.waiting: list[tuple[str, dict[str, Any]]] = []
        self.names = set(mapping(document.get("definitions")))
        self.inner: dict[str, tuple[str, Any]] = {}  # names and schemas of what is inside of operations, by reference

    def converted(self) -> dict[str, Any]:
        old = self.document
        made: dict[str, Any] = {"openapi": "3.0.3"} | _without(old, MOVED)
        if servers := self._servers(listed(old.get("schemes")) or [old.get("schemes")]):
            made.setdefault("servers", servers)
        paths = mapping(old.get("paths")).items()
        made["paths"] = {path: self._item(path, item) if isinstance(item, dict) else item for path, item in paths}
        parameters = {n: p for n, p in _named(old.get("parameters")).items() if p.get("in") not in IN_BODY}
        parts = {
            "schemas": mapping(old.get("definitions")),
            "responses": self._responses(old),
            "parameters": {name: self._parameter(name, value) for name, value in parameters.items()},
            "securitySchemes": {n: self._security(v) for n, v in _named(old.get("securityDefinitions")).items()},
        }
        components = dict(mapping(old.get("components")))
        components |= {key: mapping(components.get(key)) | value for key, value in parts.items() if value}
        made, components = self._with_moved_refs(made), self._with_moved_refs(components)
        while self.waiting:  # not by recursion: one may lead to another without end
            ref, target = self.waiting.pop()
            schema = self._parameter(ref, target)["schema"] if "in" in target else target
            self.inner[ref] = self.inner[ref][0], self._with_moved_refs(schema)
        if self.inner:
            components["schemas"] = mapping(components.get("schemas")) | dict(self.inner.values())
        made |= {"components": components} if components else {}
        return made | ({"x-not-converted": self.lost} if self.lost else {})

    def _servers(self, schemes: list[Any]) -> list[dict[str, Any]]:
        # Some documents have a whole URL in either place.
        scheme, _, host = text(self.document.get("host")).strip().strip("/").rpartition("://")
        base = re.sub(r"^\w+://[^/]*", "", text(self.document.get("basePath")).strip()).strip("/")
        base = base and f"/{base}"
        if not host:
            return [{"url": base}] if base else []
        kinds = [kind.lower() for kind in _strings(schemes)] or [scheme.lower()]
        unknown = [kind for kind in kinds if kind not in ("http", "https", "")]
        self.lost += [f"schemes: {kind} is not converted; only http and https are called" for kind in unknown]
        # Prefer https: the calls carry keys.
        default = "http" if re.fullmatch(r"(localhost|127[.0-9]+|\[::1\])(:\d+)?", host) else "https"
        kinds = [kind for kind in ("https", "http") if kind in kinds] or [default]
        return [{"url": f"{kind}://{host}{base}"} for kind in kinds]

    def _item(self, path: str, item: dict[str, Any]) -> dict[str, Any]:
        item = self._followed(item) | _without(item, ("$ref",))
        made, shared = self._parameters(path, item)
        for key, operation in _without(item, ("parameters",)).items():
            is_method = key.lower() in METHODS and isinstance(operation, dict)
            made[key] = self._operation(f"{key.upper()} {path}", operation, shared) if is_method else operation
        return made

    def _followed(self, node: Any) -> dict[str, Any]:
        """What a node refers to; the node itself if it refers to nothing in the document."""
        return deref(self.document, node) or mapping(node)

    def _parameters(self, place: str, holder: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The parameters of a path or an operation as they are declared in OpenAPI 3, and those that make a body."""
        every = [self._followed(each) for each in listed(holder.get("parameters"))]
        plain = [self._parameter(place, each) for each in every if each.get("in") not in IN_BODY]
        return {"parameters": plain} if plain else {}, [each for each in every if each.get("in") in IN_BODY]

    def _operation(self, place: str, old: dict[str, Any], shared: list[dict[str, Any]]) -> dict[str, Any]:
        old = self._followed(old)
        plain, mine = self._parameters(place, old)
        made = _without(old, ("parameters", "consumes", "produces", "schemes")) | plain
        # A body stands in place of what the path has; fields of a form add to each other.
        alone = bool(mine) and mine[0].get("in") == "body"
        kinds = () if alone else ("formData",) if mine else IN_BODY
        fields = {str(p.get("name")): p for p in [*(p for p in shared if p.get("in") in kinds), *mine]}
        consumes = _strings(old.get("consumes", self.document.get("consumes")))
        if body := self._body(place, list(fields.values()), consumes):
            made.setdefault("requestBody", body)
        made["responses"] = self._responses(old)
        if isinstance(old.get("schemes"), list) and (servers := self._servers(old["schemes"])):
            made.setdefault("servers", servers)
        return made

    def _body(self, place: str, every: list[dict[str, Any]], consumes: list[str]) -> dict[str, Any] | None:
        whole = [p for p in every if p.get("in") == "body"]
        fields = {str(p.get("name", "")): p for p in every if p.get("in") == "formData"}
        if len(whole) > 1 or (whole and fields):
            self.lost.append(f"{place}: more than one body is declared; only the first is converted")
        if whole:
            kinds = [kind for kind in consumes if kind not in FORMS] or ["application/json"]
            made: dict[str, Any] = {"content": {kind: {"schema": mapping(whole[0].get("schema"))} for kind in kinds}}
            return made | {key: whole[0][key] for key in ("description", "required") if key in whole[0]}
        if not fields:
            return None
        properties = {name: self._schema(place, field) for name, field in fields.items()}
        lists = {name: field for name, field in fields.items() if field.get("type") == "array"}
        required = [name for name, field in fields.items() if field.get("required") is True]
        schema = {"type": "object", "properties": properties} | ({"required": required} if required else {})
        media = {"schema": schema, "encoding": {name: self._list_style(place, field) for name, field in lists.items()}}
        files = any(field.get("type") == "file" for field in fields.values())
        kinds = [FORMS[1]] if files else [kind for kind in consumes if kind in FORMS] or [FORMS[0]]
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
        # Some documents mix in what only OpenAPI 3 has.
        kept = ("name", "in", "description", "required", "allowEmptyValue", "style", "explode")
        made = {key: value for key, value in old.items() if key in kept or key.startswith("x-")}
        made["schema"] = _without(mapping(old.get("schema")) or self._schema(place, old), ("style", "explode"))
        is_list = old.get("type") == "array" and "style" not in old
        return made | (self._list_style(place, old) if is_list else {})

    def _list_style(self, place: str, old: dict[str, Any]) -> dict[str, Any]:
        """The `style` and `explode` of a list's `collectionFormat`; a path and a header only have commas."""
        how, separated = str(old.get("collectionFormat", "csv")), old.get("in") in ("query", "formData")
        if how not in ("csv", "multi", *(SEPARATED if separated else ())):
            self.lost.append(f"{place}: collectionFormat {how} of `{old.get('name')}` becomes csv")
        return {"style": SEPARATED.get(how, "form"), "explode": how == "multi"} if separated else {}

    def _responses(self, holder: dict[str, Any]) -> dict[str, Any]:
        kinds = _strings(holder.get("produces", self.document.get("produces")))
        # A shared response has the document's media types.
        alike = kinds == _strings(self.document.get("produces"))
        responses = _named(holder.get("responses")).items()
        return {str(code): self._response(value, kinds, alike) for code, value in responses}

    def _response(self, old: dict[str, Any], produces: list[str], shared: bool) -> dict[str, Any]:
        if not (shared and str(old.get("$ref", "")).startswith("#/responses/")):
            old = self._followed(old)
        if "$ref" in old or "content" in old:
            return old
        made = _without(old, ("schema", "examples", "headers"))
        if headers := _named(old.get("headers")):
            made["headers"] = {name: {"schema": self._schema("a header", value)} for name, value in headers.items()}
        schema, examples = old.get("schema"), mapping(old.get("examples"))
        if mapping(schema).get("type") == "file":
            schema = {"type": "string", "format": "binary"}
        media = {"schema": schema} if isinstance(schema, dict) else {}
        if media or examples:
            kinds = produces or list(examples) or ["application/json"]
            bare = {_bare(kind) for kind in kinds}  # an example may leave out the charset
            kinds = [*kinds, *(kind for kind in examples if "/" in kind and _bare(kind) not in bare)]
            shown = {_bare(kind): {"example": value} for kind, value in examples.items()}
            made["content"] = {kind: media | shown.get(_bare(kind), {}) for kind in kinds}
        return made

    def _security(self, old: dict[str, Any]) -> dict[str, Any]:
        if old.get("type") == "basic":
            return old | {"type": "http", "scheme": "basic"}
        if old.get("type") != "oauth2":
            return old
        urls = {key: old[key] for key in ("authorizationUrl", "tokenUrl") if key in old}
        flow = str(old.get("flow", "implicit"))
        flows = {FLOWS.get(flow, flow): urls | {"scopes": mapping(old.get("scopes"))}}
        return _without(old, ("flow", "scopes", *urls)) | {"flows": flows}

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
        target = deref(self.document, {"$ref": ref}) if inside else {}
        if not target:
            return PLACES.get(old, "") + ref[len(old) :]
        holder, _, key = ref.rpartition("/")
        if further := text(mapping(deref(self.document, {"$ref": holder}).get(key)).get("$ref")):
            return self._moved(further)
        if ref not in self.inner:
            name = re.sub(r"\W+", "_", ref[2:])
            while name in self.names:
                name += "_"
            self.names.add(name)
            self.inner[ref] = name, {}
            self.waiting.append((ref, target))
        return f"#/components/schemas/{self.inner[ref][0]}"


def _without(value: dict[str, Any], keys: Container[str]) -> dict[str, Any]:
    return {key: part for key, part in value.items() if key not in keys}


def _named(value: Any) -> dict[str, dict[str, Any]]:
    return {name: mapping(item) for name, item in mapping(value).items()}


def _strings(value: Any) -> list[str]:
    return [part for part in listed(value) if isinstance(part, str)]


def _bare(kind: str) -> str:
    return kind.partition(";")[0].strip().lower()

"""The description as an OpenAPI 3.0 document, as the daemon serves it at /openapi.json."""

import re
from typing import Any

from apispec.model import (
    Binary,
    Filters,
    ListOf,
    MapOf,
    Operation,
    Param,
    Ref,
    Scalar,
    Stream,
    Struct,
    Type,
    Words,
    resolve,
)
from apispec.operations import OPERATIONS
from apispec.versions import MAX, MIN

Json = dict[str, Any]

_FORMATS = {"int64": "int64", "uint64": "uint64", "uint32": "uint32", "uint16": "uint16"}
_REASONS = {
    101: "The connection is now a stream.",
    200: "Done.",
    201: "Made.",
    204: "Done.",
    304: "Already so.",
    400: "The request makes no sense.",
    401: "Not allowed in.",
    403: "Refused.",
    404: "No such thing.",
    409: "In the way of the present state.",
    500: "The engine failed.",
    501: "This engine can't.",
    503: "This engine is no swarm manager.",
}
_ERROR = "common.ErrorResponse"


def document() -> Json:
    """The whole document as JSON values. Types that have a name in ``apispec.types`` become components."""
    writer = _Writer()
    paths: dict[str, Json] = {}
    for operation in OPERATIONS.values():
        paths.setdefault(operation.path, {})[operation.method.lower()] = writer.operation(operation)
    writer.reference(_ERROR)
    tags = sorted({operation.tag for operation in OPERATIONS.values()})
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "compatd: the Docker Engine API",
            "version": str(MAX),
            "description": (
                f"Versions {MIN} to {MAX}, chosen by a prefix such as /v{MIN}; without one it is {MAX}. "
                "x-since and x-until tell the first and last version that knows something."
            ),
        },
        "servers": [{"url": f"/v{MAX}"}, {"url": "/"}],
        "tags": [{"name": tag} for tag in tags],
        "paths": paths,
        "components": {"schemas": dict(sorted(writer.schemas.items()))},
    }


class _Writer:
    def __init__(self) -> None:
        self.schemas: dict[str, Json] = {}

    def operation(self, operation: Operation) -> Json:
        described: Json = {
            "operationId": operation.id,
            "tags": [operation.tag],
            "summary": operation.summary,
            **_versions(operation.known, operation.until),
        }
        params = [_in_path(name) for name in re.findall(r"\{(\w+)\}", operation.path)]
        params += [self.param(param) for param in operation.params]
        if params:
            described["parameters"] = params
        if operation.body is not None:
            described["requestBody"] = {
                "required": operation.body_required,
                "content": self.content(operation.body),
            }
        answers: Json = {}
        for status, type in operation.answers.items():
            answers[str(status)] = {"description": _REASONS[status]}
            if type is not None:
                answers[str(status)]["content"] = self.content(type)
        for status in operation.errors:
            content = {"application/json": {"schema": self.reference(_ERROR)}}
            answers[str(status)] = {"description": _REASONS[status], "content": content}
        described["responses"] = answers
        return described

    def content(self, type: Type) -> Json:
        if isinstance(type, Binary):
            return {media: {"schema": {"type": "string", "format": "binary"}} for media in type.media}
        if isinstance(type, Scalar):
            return {"text/plain": {"schema": self.schema(type)}}
        return {"application/json": {"schema": self.schema(type)}}

    def param(self, param: Param) -> Json:
        described: Json = {"name": param.name, "in": param.where, **_versions(param.since, param.until)}
        schema = self.schema(param.type)
        if isinstance(param.type, Filters):
            described["content"] = {"application/json": {"schema": schema}}
            return described
        if param.default is not None:
            schema = {**schema, "default": param.default}
        described["schema"] = schema
        return described

    def schema(self, type: Type) -> Json:
        if isinstance(type, Ref):
            return self.reference(type.name)
        if isinstance(type, Stream):
            return self.schema(type.item)
        if isinstance(type, Scalar):
            return _scalar(type)
        if isinstance(type, ListOf):
            return {"type": "array", "items": self.schema(type.item)}
        if isinstance(type, MapOf):
            return {"type": "object", "additionalProperties": self.schema(type.value)}
        if isinstance(type, Words):
            words = {"type": "array", "items": {"type": "string"}}
            return {"oneOf": [words, {"type": "string"}]}
        if isinstance(type, Filters):
            names = {name: {"type": "array", "items": {"type": "string"}} for name in sorted(type.names)}
            return {"type": "object", "properties": names} if names else {"type": "object"}
        if isinstance(type, Struct):
            return self.struct(type)
        return {}

    def struct(self, type: Struct) -> Json:
        if not type.fields:
            return {"type": "object"}
        fields: Json = {}
        for name, field in type.fields.items():
            schema = self.schema(field.type)
            more: Json = _versions(field.since, field.until)
            if field.nullable:
                more["nullable"] = True
            if more and "$ref" in schema:
                schema = {"allOf": [schema]}
            fields[name] = {**schema, **more}
        return {"type": "object", "properties": fields}

    def reference(self, name: str) -> Json:
        key = name.replace(".", "_")
        if key not in self.schemas:
            self.schemas[key] = {}
            self.schemas[key] = self.schema(resolve(Ref(name)))
        return {"$ref": f"#/components/schemas/{key}"}


def _versions(since: str, until: str) -> Json:
    described: Json = {}
    if since:
        described["x-since"] = since
    if until:
        described["x-until"] = until
    return described


def _in_path(name: str) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _scalar(type: Scalar) -> Json:
    described: Json = {"type": type.kind}
    if type.go in _FORMATS:
        described["format"] = _FORMATS[type.go]
    if type.choices:
        described["enum"] = list(type.choices)
    return described

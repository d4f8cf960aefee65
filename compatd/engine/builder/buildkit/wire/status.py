"""gRPC's statuses: codes, errors, and how they are written into trailers."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from enum import IntEnum
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from compatd.engine.builder.buildkit.wire.codec import DecodeError, Message
from compatd.engine.builder.buildkit.wire.messages import proto

_ESCAPED = re.compile(rb"[^ -$&-~]")


class Code(IntEnum):
    """gRPC's status codes (google.rpc.Code)."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


_BY_HTTP = {
    400: Code.INVALID_ARGUMENT,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.NOT_FOUND,
    409: Code.ALREADY_EXISTS,
    501: Code.UNIMPLEMENTED,
    503: Code.UNAVAILABLE,
}


class Detail(NamedTuple):
    """Something beside a status's text: a type's URL and bytes."""

    type_url: str
    value: bytes


def json_detail(name: str, value: Any) -> Detail:
    """As BuildKit's own typed errors go: JSON of the Go struct; name such as `errdefs.Source`."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogateescape")
    return Detail(f"github.com/moby/buildkit/{name}+json", text)


class GrpcError(Exception):
    """A call that ends with a status other than OK."""

    def __init__(self, code: int, message: str, details: Iterable[Detail] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = tuple(details)

    def __str__(self) -> str:
        return self.message


def of_exception(error: BaseException) -> GrpcError:
    """What a client is told of an exception: the engine's errors by their HTTP status, all else UNKNOWN.

    `details` of an error (`Detail`s) go with it.
    """
    if isinstance(error, GrpcError):
        return error
    code = _BY_HTTP.get(getattr(error, "status", 0), Code.UNKNOWN)
    return GrpcError(code, str(error) or type(error).__name__, getattr(error, "details", ()))


def trailers(error: GrpcError | None) -> list[tuple[str, str]]:
    """The trailers that tell the end of a call; None: all is well."""
    if error is None:
        return [("grpc-status", "0")]
    fields = [("grpc-status", str(int(error.code)))]
    if error.message:
        fields.append(("grpc-message", percent_encode(error.message)))
    if error.details:
        made = [proto("google.protobuf.Any")(type_url=url, value=value) for url, value in error.details]
        status = proto("google.rpc.Status")(code=int(error.code), message=error.message, details=made)
        text = base64.b64encode(status.encode()).rstrip(b"=").decode()
        fields.append(("grpc-status-details-bin", text))
    return fields


def of_trailers(fields: dict[str, list[str]]) -> GrpcError | None:
    """What trailers tell; None: all is well."""
    text = fields.get("grpc-status", [""])[0]
    if not text.isdigit():
        return GrpcError(
            Code.UNKNOWN, f"malformed grpc-status: {text!r}" if text else "no grpc-status in trailers"
        )
    if int(text) == Code.OK:
        return None
    message = percent_decode(fields.get("grpc-message", [""])[0])
    details: list[Detail] = []
    for value in fields.get("grpc-status-details-bin", ())[:1]:
        try:
            status: Message = proto("google.rpc.Status").decode(unpadded(value))
        except (DecodeError, ValueError):
            continue
        details = [Detail(inner.type_url, inner.value) for inner in status.details]
    return GrpcError(int(text), message, details)


def unpadded(text: str) -> bytes:
    """Base64 with or without padding. Raises ValueError."""
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


def percent_encode(text: str) -> str:
    """A grpc-message: what is not printable ASCII, and the percent sign, as %XX of UTF-8."""
    return _ESCAPED.sub(lambda found: b"%%%02X" % ord(found[0]), text.encode("utf-8", "replace")).decode()


def percent_decode(text: str) -> str:
    """The other way; what is no escape stays."""
    return unquote_to_bytes(text).decode("utf-8", "replace")

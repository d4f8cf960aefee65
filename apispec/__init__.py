"""The Engine API as data: operations, their parameters, bodies and answers, from API version 1.24 to 1.56.

    OPERATIONS[id]                      every operation, keyed by its ID
    decode_query(operation, raw, v)     the query, typed, defaults filled in
    decode_body(operation, raw, ct, v)  a JSON body, in the API's spelling
    gate(operation, value, v)           an answer in the shape for a client of version v

Types load when they are first needed.
"""

from apispec.decode import decode_body
from apispec.encode import gate
from apispec.model import BadRequest, Operation
from apispec.operations import OPERATIONS
from apispec.query import decode_filters, decode_query, parse_query
from apispec.versions import MAX, MIN, Version, VersionError, negotiate

__all__ = [
    "MAX",
    "MIN",
    "OPERATIONS",
    "BadRequest",
    "Operation",
    "Version",
    "VersionError",
    "decode_body",
    "decode_filters",
    "decode_query",
    "gate",
    "negotiate",
    "parse_query",
]

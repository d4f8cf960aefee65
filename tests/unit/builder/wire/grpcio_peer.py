"""The other end, made of grpcio, in a process of its own: its threads are no good in one that forks.

`grpcio_peer.py serve SOCKET` serves until its input ends; `grpcio_peer.py call SOCKET` calls and prints JSON.
"""

import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import grpc

CHECK, COPY = "/grpc.health.v1.Health/Check", "/moby.filesync.v1.FileSync/DiffCopy"
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def _echo(requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
    context.send_initial_metadata((("head", "first"), ("raw-bin", b"\x00\xff")))
    context.set_trailing_metadata((("count", "several"),))
    yield from requests


def _check(request: bytes, context: Any) -> bytes:
    if not request:
        return b"\x08\x01"
    if request == b"\x0a\x04slow":
        time.sleep(0.5)
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "nöt 100% now\n")
    return b""


class _Handlers(grpc.GenericRpcHandler):
    def service(self, details: Any) -> Any:
        if details.method == CHECK:
            return grpc.unary_unary_rpc_method_handler(_check)
        return grpc.stream_stream_rpc_method_handler(_echo)


def serve(path: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    server = grpc.server(ThreadPoolExecutor(8), handlers=(_Handlers(),), options=OPTIONS)
    server.add_insecure_port(f"unix:{path}")
    server.start()
    print("ready", flush=True)
    sys.stdin.read()
    server.stop(0).wait()


def call(path: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with grpc.insecure_channel(f"unix:{path}", options=OPTIONS) as channel:
        check, copy = channel.unary_unary(CHECK), channel.stream_stream(COPY)
        found["check"] = check(b"", timeout=30).hex()
        sizes = [0, 1, 5, 16384, 40000, 300000, 3 << 20]
        stream = copy(bytes([n]) * size for n, size in enumerate(sizes))
        found["echo"] = [len(piece) for piece in stream] == sizes
        found["head"] = dict(stream.initial_metadata())["head"]
        found["raw"] = dict(stream.initial_metadata())["raw-bin"].hex()
        found["trailing"] = dict(stream.trailing_metadata())["count"]
        try:
            check(b"\x0a\x01x", metadata=(("many", "a"), ("many", "b"), ("key-bin", b"\x01")), timeout=30)
        except grpc.RpcError as error:
            found["error"] = [error.code().name, error.details()]
            details = dict(error.trailing_metadata())["grpc-status-details-bin"]
            found["details"] = details.hex()
        for name, method in (("late", CHECK), ("missing", "/no.such/Call")):
            try:
                channel.unary_unary(method)(b"\x0a\x04slow", timeout=0.1 if name == "late" else 30)
            except grpc.RpcError as error:
                found[name] = error.code().name
        calls = [check.future(b"", timeout=30) for _ in range(400)]
        found["many"] = sum(future.result() == b"\x08\x01" for future in calls)
        endless = copy(iter(lambda: b"x" * 1000, b""))
        next(endless)
        endless.cancel()
        found["after"] = check(b"", timeout=30).hex()
    return found


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        print(json.dumps(call(sys.argv[2])))

"""The shop's web server: `GET /` counts a visit in Redis, `POST /?WHAT` writes an order to PostgreSQL.

`web.py check` is its health check.
"""

import json
import os
import signal
import socket
import sys
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PORT = 8000


class Shop(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        import redis  # type: ignore[import-not-found, unused-ignore]

        if self.path == "/health":
            self.answer({"well": True})
            return
        visits = redis.Redis(host=os.environ["CACHE"], socket_timeout=20).incr("visits")
        with self.database() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT what FROM orders ORDER BY id")
            orders = [what for (what,) in cursor.fetchall()]
        greeting = os.environ["GREETING"]
        self.answer({"host": socket.gethostname(), "greeting": greeting, "visits": visits, "orders": orders})

    def do_POST(self) -> None:
        what = self.path.partition("?")[2]
        with self.database() as connection, connection.cursor() as cursor:
            cursor.execute("INSERT INTO orders (what) VALUES (%s) RETURNING id", (what,))
            self.answer({"id": cursor.fetchone()[0]})

    def database(self) -> Any:
        import psycopg2  # type: ignore[import-untyped, import-not-found, unused-ignore]

        password = Path("/run/secrets/database").read_text().strip()
        return psycopg2.connect(user="postgres", dbname="postgres", password=password, connect_timeout=20)

    def answer(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    if sys.argv[1:] == ["check"]:
        urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health", timeout=15).read()
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"the shop is open on port {PORT}")
    ThreadingHTTPServer(("", PORT), Shop).serve_forever()


if __name__ == "__main__":
    main()

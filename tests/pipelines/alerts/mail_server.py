"""A small mail server and a small webhook of this machine, as real peers of the tests."""

from __future__ import annotations

import json
import socketserver
import ssl
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer


class MailServer(socketserver.ThreadingTCPServer):
    """SMTP as far as a sender needs it: messages are kept with whether they came encrypted."""

    allow_reuse_address = daemon_threads = True

    def __init__(self, *, context: ssl.SSLContext | None = None, mode: str = "") -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.context, self.mode = context, mode
        self.messages: list[tuple[str, bool]] = []

    @property
    def port(self) -> int:
        return self.server_address[1]


class _Session(socketserver.StreamRequestHandler):
    server: MailServer

    def handle(self) -> None:
        if self.server.mode == "hang":
            time.sleep(3)
            return
        encrypted = False
        self._say("220 test")
        while line := self.rfile.readline().decode().strip():
            verb = line.split(" ")[0].upper()
            if verb == "EHLO":
                offer = self.server.context is not None and not encrypted
                self._say("250-test\r\n250 STARTTLS" if offer else "250 test")
            elif verb == "STARTTLS" and self.server.context is not None:
                self._say("220 go")
                secured = self.server.context.wrap_socket(self.connection, server_side=True)
                self.rfile, self.wfile = secured.makefile("rb"), secured.makefile("wb", 0)
                encrypted = True
            elif verb == "RCPT" and self.server.mode == "refuse":
                self._say("550 nobody here")
            elif verb == "DATA":
                self._say("354 go")
                text = b""
                while (row := self.rfile.readline()) not in (b".\r\n", b""):
                    text += row
                self.server.messages.append((text.decode(), encrypted))
                self._say("250 taken")
                if self.server.mode == "leave":
                    return
            elif verb == "QUIT":
                self._say("221 bye")
                return
            else:
                self._say("250 ok")

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


class Webhook(HTTPServer):
    """Keeps what is posted; answers `status`, or elsewhere where that is a redirect."""

    def __init__(self, status: int = 204) -> None:
        super().__init__(("127.0.0.1", 0), _Post)
        self.status = status
        self.posts: list[tuple[dict, dict]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/alerts"


class _Post(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posts.append((json.loads(content), dict(self.headers)))
        self.send_response(self.server.status)
        if self.server.status == 302:
            self.send_header("Location", f"{self.server.url}/elsewhere")
        self.end_headers()

    def do_GET(self) -> None:
        self.server.posts.append(({"followed": True}, dict(self.headers)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def serving(server: socketserver.TCPServer) -> Generator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

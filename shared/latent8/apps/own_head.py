"""The head of the page: what a link to it shows is the app's own, not Gradio's."""

from __future__ import annotations

import re
from typing import Any

ADDRESS = b"@ADDRESS@"
_GRADIOS = re.compile(rb'<meta\s+(?:property|name)="(?:og|twitter):[^>]*>\s*')


class OwnHead:
    """ASGI middleware. head: HTML that goes into the page's head in place of Gradio's tags for links; ADDRESS in it
    becomes the page's own address, as links to pictures for other sites must be whole."""

    def __init__(self, app: Any, head: str):
        self._app, self._head = app, head.encode()

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] != "/":
            return await self._app(scope, receive, send)
        start: dict[str, Any] = {}
        body = bytearray()

        async def send_changed(message: dict) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
                return
            if message["type"] != "http.response.body":
                return await send(message)
            body.extend(message.get("body", b""))
            if message.get("more_body"):
                return
            page = self.changed(bytes(body), address_of(scope))
            headers = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
            await send({**start, "headers": [*headers, (b"content-length", str(len(page)).encode())]})
            await send({"type": "http.response.body", "body": page})

        await self._app(scope, receive, send_changed)

    def changed(self, page: bytes, address: bytes) -> bytes:
        """HTML -> HTML; what has no head stays as it is."""
        before, tag, after = page.partition(b"</head>")
        return _GRADIOS.sub(b"", before) + self._head.replace(ADDRESS, address) + tag + after if tag else page


def address_of(scope: dict) -> bytes:
    """https://host/ as the browser asked for it, also through a proxy; empty where the host is no name."""
    headers: dict[bytes, bytes] = dict(scope["headers"])
    host = headers.get(b"x-forwarded-host", headers.get(b"host", b""))
    protocol = headers.get(b"x-forwarded-proto", scope["scheme"].encode()).partition(b",")[0].strip()
    good = re.fullmatch(rb"[A-Za-z0-9.:\[\]-]+", host) and protocol in (b"http", b"https")
    return protocol + b"://" + host + b"/" if good else b""

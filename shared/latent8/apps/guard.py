"""What stands before Gradio's routes: whose requests are taken, to which of them, and how large.

An ASGI middleware that both apps are launched with. It counts bodies as they come in, so that nothing is kept of one
that is too large, and closes all routes that the pages and their programs do not need.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import re
from collections import Counter
from collections.abc import Iterable
from contextlib import contextmanager
from urllib.parse import urlsplit

from starlette._utils import get_route_path
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from latent8.apps import bounds
from latent8.apps.quota import Full, Quota

API = "/gradio_api"
UPLOAD = f"{API}/upload"
# those of the page, its API, its results and MCP; what else Gradio answers (it records, edits, proxies) is closed
ROUTES = re.compile(
    r"/(config/?|favicon\.ico|theme\.css|robots\.txt|manifest\.json|pwa_icon(/\w+)?|(assets|static|svelte)/.+)?"
    rf"|{API}/(user|login_check|token|app_id|info|startup-events|cancel|reset)/?"
    rf"|{API}/(openapi\.json|theme\.css|upload|upload_progress|queue/(join|data|status))"
    rf"|{API}/heartbeat/[^/]+|{API}/call/.+|{API}/mcp(/.*)?"
    rf"|{API}/run/predict"  # the page's events beside the queue; Gradio refuses those of the queue here
    rf"|{API}/file=(?!https?:).+",
    re.DOTALL | re.IGNORECASE,
)
METHODS = {"GET", "HEAD", "OPTIONS", "POST", "DELETE"}  # the last is MCP's end of a session
FRAMES = "'self' https://huggingface.co https://*.hf.space" if bounds.ON_SPACE else "'self'"
HEADERS = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": f"frame-ancestors {FRAMES}"}


class Refused(HTTPException):
    """A request that is not taken: status and a sentence."""


class Guard:
    """loopback: the server is for this machine alone, so that only its own names may lead to it."""

    def __init__(self, app: ASGIApp, quota: Quota, loopback: bool):
        self.app, self.quota, self.loopback = app, quota, loopback
        self._open: Counter[str] = Counter()  # connections of each client

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":  # nothing here speaks over WebSockets
            return await send({"type": "websocket.close", "code": 1008})
        headers, path = Headers(scope=scope), get_route_path(scope)
        client = bounds.client_of((scope.get("client") or ("",))[0], headers.get("x-forwarded-for"))
        answer = Answer(send)
        try:
            self._check(scope["method"], path, headers)
            with self._connected(client):
                body = Body(receive, headers, client, self.quota if path == UPLOAD else None)
                answer.body = body
                await self.app(scope, body.receive, answer.send)
        except Refused as refused:
            await answer.refuse(refused)

    def _check(self, method: str, path: str, headers: Headers) -> None:
        """Raises Refused."""
        if not ROUTES.fullmatch(path):
            raise Refused(404, "There is no such page here.")
        if method not in METHODS:
            raise Refused(405, f"{method} is not taken here.")
        if self.loopback and not is_own_name(host_name(headers.get("host", ""))):
            raise Refused(
                403,
                "This app answers on this machine alone, under the names localhost and 127.0.0.1. For another name, as "
                "a proxy's, set the variable LATENT8_HOSTS to it.",
            )
        if method not in ("GET", "HEAD", "OPTIONS") and not from_own_page(headers):
            raise Refused(
                403,
                f"Requests from pages of {headers.get('origin')} are not taken. Where that is a proxy of this app, set "
                "the variable LATENT8_HOSTS to its name.",
            )

    @contextmanager
    def _connected(self, client: str):
        """Raises Refused where there are too many already."""
        of_all = self._open.total()
        if self._open[client] >= bounds.CONNECTIONS_OF_CLIENT or of_all >= bounds.CONNECTIONS:
            raise Refused(503, "Too many requests at the same time: try again in a minute.")
        self._open[client] += 1
        try:
            yield
        finally:
            self._open[client] -= 1
            if not self._open[client]:
                del self._open[client]


class Body:
    """The body of a request, counted as it comes in. quota: of an upload, what it may fill."""

    def __init__(self, receive: Receive, headers: Headers, client: str, quota: Quota | None):
        self._receive, self._client, self._quota = receive, client, quota
        self._most = bounds.UPLOAD_BYTES if quota else bounds.BODY_BYTES
        self._read, self._complete = 0, False
        self.refused: Refused | None = None
        stated = headers.get("content-length", "0")
        if not stated.isdecimal() or int(stated) > self._most:
            raise self._too_large()
        if quota:
            self._take(0, int(stated))

    async def receive(self) -> Message:
        if self._complete:
            return await self._receive()  # waits until the client goes
        try:
            message = await asyncio.wait_for(self._receive(), bounds.STALLED_SECONDS)
            if message["type"] == "http.request":
                self._complete = not message.get("more_body", False)
                self._read += len(message.get("body", b""))
                if self._read > self._most:
                    raise self._too_large()
                if self._quota:
                    self._take(len(message.get("body", b"")))
            return message
        except TimeoutError:
            self.refused = Refused(408, "The rest of the request did not come: send it again.")
        except Refused as refused:
            self.refused = refused
        self._complete = True
        raise self.refused

    def _take(self, n_bytes: int, to_come: int = 0) -> None:
        assert self._quota  # see above
        try:
            self._quota.take(self._client, n_bytes, to_come)
        except Full as full:
            raise Refused(507, str(full)) from None

    def _too_large(self) -> Refused:
        most = f"{bounds.UPLOAD_MB} MB in one upload" if self._quota else f"{bounds.BODY_BYTES // bounds.MB} MB"
        return Refused(413, f"The request is too large: at most {most} are taken.")


class Answer:
    """What is sent back: with our headers; where the body was cut off our refusal, whatever the app made of it."""

    def __init__(self, send: Send):
        self._send, self._started, self._dropped = send, False, False
        self.body: Body | None = None

    async def send(self, message: Message) -> None:
        if self._dropped:
            return
        if message["type"] == "http.response.start":
            if self.body and self.body.refused:
                return await self.refuse(self.body.refused)
            self._started = True
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.append(name, value)
        await self._send(message)

    async def refuse(self, refused: Refused) -> None:
        if self._started:
            return
        self._started = self._dropped = True
        content = json.dumps({"detail": refused.detail}).encode()
        headers = {"content-type": "application/json", "content-length": str(len(content)), "connection": "close"}
        raw = [(name.lower().encode(), value.encode()) for name, value in {**headers, **HEADERS}.items()]
        await self._send({"type": "http.response.start", "status": refused.status_code, "headers": raw})
        await self._send({"type": "http.response.body", "body": content})


def host_name(netloc: str) -> str:
    """Of a Host header, or of the part of a URL that is like one, without the port; empty where it is neither."""
    try:
        return urlsplit(f"//{netloc}").hostname or ""
    except ValueError:
        return ""


def is_own_name(name: str, others: Iterable[str] = ()) -> bool:
    """Whether a host name can only be this machine's, or is one that was allowed."""
    allowed = bounds.HOSTS | set(others)
    return "*" in allowed or name in allowed or is_loopback(name)


def is_loopback(name: str) -> bool:
    """localhost, what ends in it, which no name server may give away (RFC 6761), and the addresses of it."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def from_own_page(headers: Headers) -> bool:
    """Whether a request that changes something comes from a page of this app, or from no page at all.

    Browsers say where it comes from, and pages cannot change that. Spaces are embedded and called by pages everywhere.
    """
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if bounds.ON_SPACE or "*" in bounds.HOSTS or site == "same-origin" or (origin is None and site in (None, "none")):
        return True
    try:
        netloc = urlsplit(origin or "").netloc.lower()
    except ValueError:  # no URL
        return False
    return bool(netloc) and (netloc == headers.get("host", "").lower() or host_name(netloc) in bounds.HOSTS)


def serves_this_machine_alone() -> bool:
    """By the address that Gradio listens on; not where it makes a public link."""
    shared = os.environ.get("GRADIO_SHARE", "").lower() == "true"
    return is_loopback(os.environ.get("GRADIO_SERVER_NAME") or "127.0.0.1") and not shared and not bounds.ON_SPACE

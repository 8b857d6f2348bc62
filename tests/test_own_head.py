"""What a link to an app's page shows elsewhere is the app's own."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse
from starlette.routing import Route

from latent8.apps import look
from latent8.apps.own_head import OwnHead

PAGE = """<html><head><meta
  property="og:image"
  content="https://gradio/x.jpg"
/><meta name="twitter:title" content="Gradio" /><meta name="viewport" content="w"></head><body>é</body></html>"""


def page(request: object) -> HTMLResponse:
    return HTMLResponse(PAGE)


@pytest.fixture
def client() -> TestClient:
    head = look.head("A title", 'What "it" is')
    routes = [Route("/", page), Route("/other", page)]
    return TestClient(Starlette(routes=routes, middleware=[Middleware(OwnHead, head=head)]))


def test_the_apps_own_tags_stand_in_place_of_gradios(client: TestClient) -> None:
    got = client.get("/")
    assert int(got.headers["content-length"]) == len(got.content)
    assert "gradio/x.jpg" not in got.text and ">é<" in got.text and 'content="w"' in got.text
    assert '<meta property="og:title" content="A title">' in got.text
    assert '<meta name="description" content="What &quot;it&quot; is">' in got.text
    assert f'content="http://testserver/gradio_api/file={look.CARD}"' in got.text
    assert client.get("/other").text == PAGE


@pytest.mark.parametrize(
    ("headers", "address"),
    [
        ({"x-forwarded-host": "me.hf.space", "x-forwarded-proto": "https,http"}, "https://me.hf.space/"),
        ({"host": 'a"><script>'}, ""),
    ],
)
def test_the_address_is_what_the_browser_asked_for(client: TestClient, headers: dict[str, str], address: str) -> None:
    assert f'property="og:image" content="{address}gradio_api/' in client.get("/", headers=headers).text

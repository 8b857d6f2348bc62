"""How files come in: Gradio's parser of uploads and its download of URLs, each with bounds."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import shutil
import uuid
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urljoin

import gradio as gr
import httpx
import safehttpx
from gradio import processing_utils, route_utils
from gradio_client.utils import strip_invalid_filename_characters
from starlette.datastructures import FormData

from latent8.apps import bounds
from latent8.apps.quota import Full, Quota

REDIRECTS = 5
TURNS_OF_TEXT = re.compile("[\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")  # Unicode's bidirectional controls
PUBLIC_HOSTS = processing_utils.PUBLIC_HOSTNAME_WHITELIST  # their addresses are private ones on Spaces


class BoundedParser(route_utils.GradioMultiPartParser):
    """Keeps no field in memory that is no file, and no part of a file whose client has gone."""

    def __init__(self, *args, **options):
        super().__init__(*args, **{**options, "max_files": bounds.REQUEST_FILES, "max_fields": 16})

    def on_headers_finished(self) -> None:
        super().on_headers_finished()
        file = self._current_part.file
        if file is not None and file.filename:  # which is shown: no text may look as if it were of other letters
            file.filename = TURNS_OF_TEXT.sub("", file.filename)

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        part = self._current_part
        if part.file is None and len(part.data) + end - start > bounds.FIELD_BYTES:
            raise route_utils.MultiPartException(f"Field exceeded maximum allowed size of {bounds.FIELD_BYTES} bytes.")
        super().on_part_data(data, start, end)

    async def parse(self) -> FormData:
        try:
            return await super().parse()
        except BaseException:
            for file in self._files_to_close_on_error:
                with suppress(OSError, ValueError):
                    file.close()
                Path(file.name).unlink(missing_ok=True)
            raise


class Fetcher:
    """Files that programs give as URLs, as MCP's clients do: from public addresses, within a size and a time."""

    def __init__(self, quota: Quota):
        self.quota = quota

    async def download(self, url: str, cache_dir: str) -> str:
        """In place of Gradio's function of the same arguments. Raises gr.Error."""
        folder = Path(cache_dir) / f"{uuid.uuid4().hex}{uuid.uuid4().hex}"
        name = strip_invalid_filename_characters(Path(unquote(httpx.URL(url).path)).name) or "file"
        try:
            async with asyncio.timeout(bounds.FETCH_SECONDS):
                folder.mkdir(parents=True)
                await self._follow(url, folder / name)
            return str(folder / name)
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, TimeoutError):
                why = f"it took longer than {bounds.FETCH_SECONDS} seconds"
            elif isinstance(error, (httpx.HTTPError, ValueError, OSError)):
                why = "nothing can be fetched from this address"
            elif isinstance(error, _Refused):
                why = str(error)
            else:
                raise
            raise gr.Error(f"The file at the URL was not taken: {why}.", print_exception=False) from None

    async def _follow(self, url: str, target: Path) -> None:
        for _ in range(REDIRECTS + 1):
            async with (
                httpx.AsyncClient(transport=await _transport(url), trust_env=False) as client,
                client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as response,
            ):
                if response.has_redirect_location:
                    url = urljoin(url, response.headers["Location"])
                    continue
                if response.status_code != 200:
                    raise _Refused(f"the answer is {response.status_code}")
                return await self._write(response, target)
        raise _Refused("it leads from one address to the next")

    async def _write(self, response: httpx.Response, target: Path) -> None:
        n_bytes = 0
        with open(target, "wb") as file:
            async for block in response.aiter_raw(1 << 16):
                n_bytes += len(block)
                if n_bytes > bounds.FILE_BYTES:
                    raise _Refused(f"it is larger than {bounds.FILE_MB} MB")
                try:
                    self.quota.take(bounds.CLIENT.get(), len(block))
                except Full as full:
                    raise _Refused(str(full).rstrip(".")) from None
                file.write(block)


class _Refused(Exception):
    pass


async def _transport(url: str) -> httpx.AsyncBaseTransport | None:
    """One that connects to the address that was looked at, and no other. Raises ValueError for one not public."""
    parsed = httpx.URL(url)
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError(url)
    if safehttpx.matches_domain_whitelist(parsed.host, PUBLIC_HOSTS):
        return None
    address = await safehttpx.async_validate_url(parsed.host)
    if not ipaddress.ip_address(address).is_global:
        raise ValueError(url)
    return safehttpx.AsyncSecureTransport(address)


def bound_gradio(quota: Quota) -> None:
    """Put both in the place of Gradio's own, which have no bounds."""
    route_utils.GradioMultiPartParser = BoundedParser  # type: ignore[misc]
    processing_utils.async_ssrf_protected_download = Fetcher(quota).download  # type: ignore[assignment]

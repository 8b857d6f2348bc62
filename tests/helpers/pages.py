"""Both apps' pages as a person uses them: bringing files, waiting for results, looking."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Download, Locator, Page

    from tests.helpers.app_servers import AppServer

WAIT_MS = 60_000
EXAMPLES = Path(__file__).parents[2] / "spaces" / "encoder" / "examples"
TABS = {"encoder": ("One photo", "Many photos"), "decoder": ("One file", "Many files", "Compare")}
SINGLE_BOX = {"encoder": "#photo", "decoder": "#blob"}
ALL_LOADED = "[...document.images].every(image => !image.getAttribute('src') || image.complete && image.naturalWidth)"


def bring(page: Page, where: str, *paths: Path) -> None:
    page.locator(f"{where} input[type=file]").set_input_files([str(path) for path in paths])


def drop(page: Page, where: str, path: Path, kind: str = "drop") -> None:
    """A file dropped, or pasted, on what a selector finds."""
    page.locator(where).first.evaluate(
        """(node, [bytes, name, type, kind]) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], name, { type }));
            const event = kind === 'paste'
                ? new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true })
                : new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true });
            node.dispatchEvent(event);
        }""",
        [list(path.read_bytes()), path.name, "image/jpeg", kind],
    )


def bring_photo(page: Page, photo: Path) -> None:
    bring(page, "#photo", photo)
    wait_for_photo(page)


def wait_for_photo(page: Page) -> None:
    page.locator("#facts .l8-download").wait_for()
    page.locator("#compare .l8-stage img[src]").nth(1).wait_for()
    settle(page)


def bring_blob(page: Page, blob: Path) -> None:
    bring(page, "#blob", blob)
    page.locator("#facts .l8-download").wait_for()
    page.locator("#picture .l8-right img[src]").wait_for()
    settle(page)


def settle(page: Page) -> None:
    """Until nothing runs and nothing is stale."""
    page.wait_for_function("!document.querySelector('.l8-busy, .l8-stale')")


def set_quality(page: Page, quality: int, prefix: str = "photo") -> None:
    set_slider(page, f"#{prefix}-quality", quality)


def set_slider(page: Page, where: str, value: float) -> None:
    """Moved, and let go."""
    slider = page.locator(f"{where} input[type=range]")
    slider.fill(str(value))
    slider.dispatch_event("change")


def open_part(page: Page, name: str) -> None:
    page.locator("button.label-wrap:visible", has_text=name).click()


def open_tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name).click()


def run_batch(page: Page, server: AppServer, files: list[Path]) -> None:
    open_tab(page, TABS[server.name][1])
    encoding = server.name == "encoder"
    bring(page, "#photos" if encoding else "#blobs", *files)
    page.locator("#photos, #blobs").locator("visible=true").get_by_role("button", name="Remove").nth(
        len(files) - 1
    ).wait_for()
    page.locator("#encode-all" if encoding else "#decode-all").click()
    page.locator("#results").get_by_text("Download all as ZIP").wait_for()


def downloaded(page: Page, locator: Locator) -> Download:
    with page.expect_download() as download:
        locator.click()
    return download.value


def calls(page: Page) -> list[str]:
    """What the page asks of the queue from now on: the list grows."""
    found = list[str]()
    page.on("request", lambda request: found.append(request.url) if "/queue/join" in request.url else None)
    return found


def assert_fits(page: Page, width: int) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def save_screenshot(page: Page, path: Path, full: bool = False) -> None:
    page.mouse.move(0, 0)
    page.wait_for_function(ALL_LOADED)
    page.wait_for_timeout(300)
    path.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=path, full_page=full)

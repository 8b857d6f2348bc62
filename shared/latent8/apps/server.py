"""Launch of both apps."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import gradio as gr
from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.middleware import Middleware

from latent8.apps import bounds, budget, files, housekeeping, inputs, look, sessions, uploads
from latent8.apps.event_queue import FairQueue
from latent8.apps.guard import Guard, serves_this_machine_alone
from latent8.apps.own_head import OwnHead
from latent8.apps.quota import Quota
from latent8.apps.work import codec
from latent8.errors import ModelError
from latent8.zoo.own_models import offer_models
from latent8.zoo.registry import DEFAULT_MODEL


async def storage_error(request: Request, error: Exception) -> JSONResponse:
    """The answer where an upload cannot be kept, in place of an internal error."""
    reason = getattr(error, "strerror", None) or "the file cannot be written"
    return JSONResponse({"detail": f"The server could not do this: {reason}."}, 507)


def offer_own_models() -> None:
    """Take the folders in LATENT8_MODELS into the lists; ends the program with a sentence where one cannot be used."""
    try:
        offer_models(os.environ.get("LATENT8_MODELS", ""))
    except ModelError as error:
        sys.exit(f"LATENT8_MODELS: {error}")


def bound(demo: gr.Blocks, quota: Quota) -> None:
    """Bounds for all that a client may ask of the app: events, their inputs, their work, files that come in."""
    for event in demo.fns.values():
        if event.fn:
            event.fn = budget.bounded(event.fn, takes_turns=event.concurrency_id in bounds.TAKING_TURNS)
    inputs.refuse_bad_inputs(demo)
    uploads.bound_gradio(quota)
    sessions.begin_quickly()
    demo.queue(api_open=False, max_size=bounds.EVENTS, default_concurrency_limit=4)
    demo._queue = FairQueue(demo._queue)


def kept_files(demo: gr.Blocks) -> set[str]:
    """Copies of what the page itself shows."""
    return {str(path) for block in demo.blocks.values() for path in getattr(block, "keep_in_cache", ())}


def launch(demo: gr.Blocks, head: str, served: Path | None = None) -> None:
    """Load the bundled model, then start; host and port come from GRADIO_SERVER_NAME and GRADIO_SERVER_PORT.

    `head` goes into the page's head. `served` is a folder whose files the page shows, wherever the app is started from.
    """
    folder = Path(gr.utils.get_upload_folder())
    housekeeping.make_own(folder)
    quota = Quota(folder, bounds.DISK_MB * bounds.MB)
    files.quota = quota
    housekeeping.keep_heap_small()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does: requests, then the server
    tidy = threading.Thread(target=housekeeping.tidy_for_ever, args=(quota, lambda: kept_files(demo)), daemon=True)
    tidy.start()
    codec(DEFAULT_MODEL)
    bound(demo, quota)
    demo.launch(
        theme=look.THEME,
        css=look.CSS,
        favicon_path=str(look.FAVICON),
        allowed_paths=[str(look.CARD), *([str(served)] if served else [])],
        max_file_size=bounds.FILE_BYTES,
        mcp_server=True,
        ssr_mode=False,
        show_error=False,
        run_history=False,
        enable_monitoring=False,
        footer_links=["api"],
        state_session_capacity=500,
        app_kwargs={
            "exception_handlers": {OSError: storage_error},
            "middleware": [
                Middleware(Guard, quota=quota, loopback=serves_this_machine_alone()),
                Middleware(OwnHead, head=head),
            ],
        },
    )
    if not demo.is_running or demo.server.should_exit:  # stopped, and not in an interactive session
        os._exit(0)  # to take apart what is loaded would last seconds more, over what a container is given

"""What both apps share. Importing it sets what Gradio reads from the environment, where the user has not."""

from __future__ import annotations

import getpass
import os
import sys
import tempfile
from pathlib import Path


def _own_folder() -> str:
    """For uploads and results, in place of Gradio's, which is the same for all users of a machine."""
    user = os.getuid() if hasattr(os, "getuid") else getpass.getuser()  # of Windows, a name
    return str(Path(tempfile.gettempdir()).resolve() / f"latent8-{user}")


os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # no network at start-up
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "100")  # they are summed up after each event, which takes time
if not os.environ.get("GRADIO_TEMP_DIR"):
    os.environ["GRADIO_TEMP_DIR"] = _own_folder()
    for name in ("gradio.routes", "gradio.route_utils"):  # a page may have imported them already
        if name in sys.modules:
            sys.modules[name].DEFAULT_TEMP_DIR = os.environ["GRADIO_TEMP_DIR"]  # type: ignore[attr-defined]

"""What comes in from a page or a program, looked at before Gradio's components are given it."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Iterator
from typing import Any

import gradio as gr
from gradio.exceptions import InvalidPathError

from latent8.apps import bounds

LARGEST_NUMBER = 1e15
logger = logging.getLogger("latent8")


def refuse_bad_inputs(demo: gr.Blocks) -> None:
    """For every event of the app, public or not: bad numbers and too long lists are errors in the page."""
    preprocess = demo.preprocess_data

    async def checked(block_fn: Any, inputs: list[Any], *args: Any, **kwargs: Any) -> Any:
        for block, value in zip(block_fn.inputs, inputs, strict=False):
            check_input(block, value)
        try:
            async with asyncio.timeout(bounds.FETCH_SECONDS if _names_urls(inputs) else None):
                return await preprocess(block_fn, inputs, *args, **kwargs)
        except gr.Error:
            raise
        except TimeoutError:
            raise gr.Error(
                f"The files at the URLs were not taken: they took longer than {bounds.FETCH_SECONDS} seconds in all.",
                print_exception=False,
            ) from None
        except InvalidPathError:
            raise gr.Error(
                "A file that is named was not uploaded here: upload it first.", print_exception=False
            ) from None
        except OSError as error:
            reason = error.strerror or "a file cannot be read or written"
            raise gr.Error(f"The server could not do this: {reason}.", print_exception=False) from None
        except Exception as error:  # Gradio's components let through whatever they trip over
            logger.debug("inputs refused", exc_info=error)
            raise gr.Error("The inputs cannot be taken as they were sent.", print_exception=False) from None

    demo.preprocess_data = checked  # type: ignore[method-assign]


def check_input(block: Any, value: Any) -> None:
    """Raises gr.Error: a sentence."""
    label = getattr(block, "label", None) or "A value"
    is_number = isinstance(block, (gr.Number, gr.Slider))
    if is_number and not isinstance(value, (int, float, type(None))):
        raise gr.Error(f"{label} must be a number.", print_exception=False)
    try:
        for number in _numbers(value):
            if not math.isfinite(number) or (is_number and abs(number) > LARGEST_NUMBER):
                raise gr.Error(f"{label} must be a number that is finite, and not too large.", print_exception=False)
    except (OverflowError, RecursionError):
        raise gr.Error(f"{label} cannot be taken as it was sent.", print_exception=False) from None
    if isinstance(value, list) and len(value) > bounds.LISTED_FILES and isinstance(block, gr.File):
        raise gr.Error(
            f"{len(value):,} files are more than one request may have: send at most {bounds.REQUEST_FILES} at a time.",
            print_exception=False,
        )


def _names_urls(value: Any) -> bool:
    """Whether a file in it is to be fetched. It is no deeper than `check_input` could go."""
    if isinstance(value, (list, dict)):
        return any(map(_names_urls, value.values() if isinstance(value, dict) else value))
    return isinstance(value, str) and value.startswith(("http://", "https://"))


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, (int, float)):
        yield float(value)
    elif isinstance(value, (list, dict)):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _numbers(one)

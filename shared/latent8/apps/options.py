"""Options of endpoints, said once for all that have them: name, default, check and description."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from gradio.components import Component

T = TypeVar("T")


@dataclass(frozen=True)
class Option:
    """kind: type of its values; null is the default. said: a sentence for programs. component: makes what checks it,
    from `label` and `value`. label: where that is more than the name."""

    name: str
    kind: type
    default: Any
    said: str
    component: Callable[..., Component]
    label: str = ""

    def hidden(self) -> Component:
        """For an endpoint; not to be seen on the page."""
        return self.component(label=self.label or self.name, value=self.default, visible=False)


def with_options(options: Sequence[Option]) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Decorator for the function of an endpoint: it takes the options after its own parameters, and says so to Gradio.

    The function gets them by name; its docstring has `Args:` with its own parameters, then `Returns:`.
    """

    def decorated(function: Callable[..., T]) -> Callable[..., T]:
        signature = inspect.signature(function, eval_str=True)
        own = [one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD]
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        more = [inspect.Parameter(o.name, kind, default=o.default, annotation=o.kind | None) for o in options]
        full = signature.replace(parameters=[*own, *more])
        defaults = {option.name: option.default for option in options}

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> T:
            bound = full.bind(*args, **kwargs)
            given = {name: value for name, value in bound.arguments.items() if value is not None}
            first = [bound.arguments[one.name] for one in own]
            return function(*first, **{name: given.get(name, default) for name, default in defaults.items()})

        call.__signature__ = full  # type: ignore[attr-defined]
        call.__annotations__ = {one.name: one.annotation for one in full.parameters.values()}
        call.__annotations__["return"] = signature.return_annotation
        lines = "".join(f"\n        {option.name}: {option.said}" for option in options)
        before, returns, after = (function.__doc__ or "").partition("\n\n    Returns:")
        call.__doc__ = f"{before}{lines}{returns}{after}"
        return call

    return decorated

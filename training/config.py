"""Options of a training, read from a YAML file and written into one."""

from __future__ import annotations

import argparse
import difflib
from pathlib import Path
from typing import Any

import yaml

from latent8.machine.disk import write_file
from training.task import TrainingError

LARGEST_CONFIG = 1 << 20  # bytes
NOT_KEPT = {"config", "help"}


def options_of(path: Path, parser: argparse.ArgumentParser) -> tuple[list[str], str | None]:
    """A YAML file of `option: value` lines -> the options that say the same, so that the parser checks them; photos.

    Options have their names of the command line, with or without dashes: `latent-channels: 4`; those without a value
    are true or false. Raises TrainingError.
    """
    actions = {action.dest: action for action in parser._actions if action.dest not in NOT_KEPT}
    arguments: list[str] = []
    photos = None
    for key, value in _read(path).items():
        action = actions.get(str(key).replace("-", "_"))
        if action is None:
            close = difflib.get_close_matches(str(key).replace("-", "_"), actions, n=1)
            hint = f": did you mean {close[0].replace('_', '-')}?" if close else ": --help lists what there is."
            raise TrainingError(f"{path} has an unknown key, {str(key)!r}{hint}")
        if value is None:
            continue
        flag = isinstance(action, argparse._StoreTrueAction)
        if flag != isinstance(value, bool):
            wanted = "true or false" if flag else "a value"
            raise TrainingError(f"{path}: {key} must be {wanted}, not {str(value).lower()}.")
        values = value if isinstance(value, list) and action.nargs not in (None, "?") else [value]
        if any(isinstance(v, (list, dict)) for v in values):
            raise TrainingError(f"{path}: {key} must be one value, not a {type(value).__name__}.")
        if flag:
            arguments += action.option_strings[:1] if value else []
        elif action.option_strings:
            name = action.option_strings[0]
            arguments += [name, *map(str, values)] if isinstance(value, list) else [f"{name}={value}"]  # = for -1e-3
        else:
            photos = str(value)
    return arguments, photos


def keep(path: Path, args: argparse.Namespace) -> None:
    """Write all options of a run as a file that `options_of` reads, all or nothing. Raises OSError."""
    values = {
        name.replace("_", "-"): _plain(v) for name, v in vars(args).items() if name not in NOT_KEPT and v is not None
    }
    write_file(path, yaml.safe_dump(values, sort_keys=True, allow_unicode=True).encode())


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value


def _read(path: Path) -> dict[Any, Any]:
    try:
        if path.stat().st_size > LARGEST_CONFIG:
            raise TrainingError(f"{path} is too large for a config.")
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TrainingError(f"{path} cannot be read: {error.strerror}.") from None
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError):
        raise TrainingError(f"{path} is no YAML: write one `option: value` a line.") from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise TrainingError(f"{path} makes no sense as a config: write one `option: value` a line.")
    return found

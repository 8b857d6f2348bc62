"""File names as text that any program reads, and back: those that are not UTF-8 too."""

from __future__ import annotations

import re


def escaped(name: str) -> str:
    r"""A name as the system gives it -> text without lone surrogates: a byte that is not UTF-8 as \xNN, \ as \\.

    A name without either is its own text.
    """
    return re.sub(r"[\ud800-\udfff]", _escape, name.replace("\\", "\\\\"))


def unescaped(text: str) -> str:
    """Text as `escaped` gives it -> the name."""
    return re.sub(r"\\(?:(\\)|x([0-9a-f]{2})|u([0-9a-f]{4}))", _restore, text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    is_byte = 0xDC80 <= code <= 0xDCFF  # as Python keeps such a byte (PEP 383)
    return f"\\x{code - 0xDC00:02x}" if is_byte else f"\\u{code:04x}"


def _restore(found: re.Match[str]) -> str:
    backslash, byte, code = found.groups()
    if backslash:
        return backslash
    return chr(0xDC00 + int(byte, 16)) if byte else chr(int(code, 16))

"""File names as text. Linux file names are bytes; JSON and error messages want text.

Valid UTF-8 stays as it is; every byte that is not part of it, and every backslash, becomes `\\xHH`.
"""

from __future__ import annotations

import re

from swarmkeep.errors import CorruptData

_ESCAPE = re.compile(rb"\\(x[0-9a-f]{2})?")


def name_to_text(name: bytes) -> str:
    """`name` as text; two different names never give the same text."""
    return name.replace(b"\\", rb"\x5c").decode("utf-8", "backslashreplace")


def text_to_name(text: str) -> bytes:
    """The name that `name_to_text` made `text` of; raises CorruptData for any other text."""
    try:
        name = _ESCAPE.sub(_unescape, text.encode())
    except UnicodeEncodeError:
        name = b""
    if name_to_text(name) != text:
        raise CorruptData(f"{text[:200]!a} is no file name as a manifest writes them")
    return name


def _unescape(found: re.Match[bytes]) -> bytes:
    return bytes([int(found[1][1:], 16)]) if found[1] else b""

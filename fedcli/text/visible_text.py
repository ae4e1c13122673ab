"""Text of others as people may see it: no character in it can hide, move or reorder what is beside it.

Control characters, format and bidirectional characters, line and paragraph separators, and lone surrogates (bytes of a file name
that are not UTF-8) are refused in records and plans; wherever text is printed, logged or written for people, their code is shown.
The characters are listed here, not asked of Python: all versions of Python must agree on which record is valid.
"""

from __future__ import annotations

import json
import re

_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff"
    "\ufeff\ufff0-\ufffb\U000110bd\U000110cd\U00013430-\U0001345f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def hidden(text: str) -> re.Match[str] | None:
    """Return the first character of a text that cannot be seen, or None."""
    return _HIDDEN.search(text)


def visible(text: str, keep: str = "") -> str:
    """Return a text with every hidden character, but for those to keep, written as its escape.

    Only a message that fedcli composed of several lines keeps its line breaks.
    """
    return _HIDDEN.sub(lambda match: match[0] if match[0] in keep else _escape(match[0]), text)


def visible_json(text: str) -> str:
    """Return JSON on one line that means the same and holds no hidden character."""
    return _HIDDEN.sub(lambda match: json.dumps(match[0])[1:-1], text)


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"  # noqa: PLR2004 - as Python

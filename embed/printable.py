"""Make text that came from outside, such as a file name, fit to be shown and encoded.

Knows nothing of where it is shown: markup is escaped by whoever writes markup.
"""

import re

# Undecodable bytes of a file name reach Python as U+DC80 to U+DCFF; JSON may bring other halves.
_SURROGATES = re.compile("[\ud800-\udfff]")
# C0 with tab and line break, DEL, C1; line and paragraph separators; what reorders a line.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    r"""Return text on one line that every UTF-8 stream and terminal takes as it stands.

    Bytes that are no UTF-8 are written as \xNN, other lone surrogates as \uNNNN; control
    characters and marks that change the direction of writing become a space each. What is
    printable already is returned unchanged.

    >>> printable("caf\udce9.jpg"), printable("new\nline \x1b[31mred")
    ('caf\\xe9.jpg', 'new line  [31mred')
    """
    return _CONTROLS.sub(" ", _SURROGATES.sub(_escape, text))


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"

"""Text that may hold anything, as people can read it and every file can hold it."""


def printable(text: str) -> str:
    r"""Return text with control characters as spaces, and bytes that are no text as \xNN.

    >>> printable("a\tb\udce9")
    'a b\\xe9'
    """
    return "".join(map(_show, text))


def _show(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # what Python makes of a byte of a file name that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if 0xD800 <= code <= 0xDFFF:
        return f"\\u{code:04x}"
    return character if character.isprintable() else " "

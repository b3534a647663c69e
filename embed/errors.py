"""Errors that whoever gave the input can mend, told apart from faults of Cairn.

Every package raises them; the command line prints their message alone.
"""


class InputError(ValueError):
    """What was given cannot be worked with: the message says what was found and what to do.

    Whatever else ends a command is a fault of Cairn, and is shown as one. A contract between
    functions (shapes, dtypes) is a plain ValueError: who breaks it is one of us.
    """


class MissingFileError(InputError, FileNotFoundError):
    """A file or folder that is needed is not there: the message says how it comes to be."""

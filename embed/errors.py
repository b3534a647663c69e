"""Errors that whoever gave the input can mend, told apart from faults of Cairn.

Every package raises them; the command line prints their message alone.
"""


class InputError(ValueError):
    """What was given cannot be worked with: the message says what was found and what to do.

    Made of one text, or of a headline and a line for each thing that is wrong.

    Whatever else ends a command is a fault of Cairn, and is shown as one. A contract between
    functions (shapes, dtypes) is a plain ValueError: who breaks it is one of us.
    """

    def __str__(self) -> str:
        """Return the message, its lines one below the other."""
        return "\n".join(map(str, self.args))

    @property
    def lines(self) -> tuple[str, ...]:
        """The message line by line: a line break within one is of a name that was given."""
        return tuple(map(str, self.args))


class MissingFileError(InputError, FileNotFoundError):
    """A file or folder that is needed is not there: the message says how it comes to be."""


class RequestError(InputError):
    """What is asked for cannot be done: whoever asks mends it, and needs no access to any file.

    A server tells these alone, and whoever runs it finds the others in its log.
    """


class NotFoundError(RequestError):
    """What is asked for by its name is not there: the message says what was asked for."""


class NotWritableError(InputError):
    """A folder that is to be changed is gone, or cannot be written."""


def install_extra(name: str) -> str:
    """Return the command that installs an extra: of these files, whoever else is called cairn.

    >>> install_extra("serve")
    "in the folder of Cairn's source: pip install --editable '.[serve]'"
    """
    return f"in the folder of Cairn's source: pip install --editable '.[{name}]'"

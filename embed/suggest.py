"""Tell somebody who named what is not there what it might be. Imports nothing of ours."""

import difflib
from collections.abc import Iterable


def suggest(wrong: str, known: Iterable[str]) -> str:
    """Return a question for the closest name, or the list of all if none is close.

    Args:
        wrong: the name that is not known.
        known: the names that are.

    >>> suggest("majorty", ["mean", "majority"]), suggest("x", ["mean", "majority"])
    ("did you mean 'majority'?", 'there are mean, majority')
    """
    names = list(known)
    close = difflib.get_close_matches(wrong, names, n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else f"there are {', '.join(names)}"

"""The stages as commands, and the run as people use it: `from pipelines import Recognizer`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.answers.answer import Answer, FurtherAnswer, Match, RankedLabel
    from pipelines.answers.opened_run import PhotoComparison
    from pipelines.answers.photo import ImageSource, Photo

    from .recognizer import ListedLandmark, Recognizer

__all__ = [
    "Answer",
    "FurtherAnswer",
    "ImageSource",
    "ListedLandmark",
    "Match",
    "Photo",
    "PhotoComparison",
    "RankedLabel",
    "Recognizer",
]
_ROOMS = {
    "answers.answer": ("Answer", "FurtherAnswer", "Match", "RankedLabel"),
    "answers.opened_run": ("PhotoComparison",),
    "answers.photo": ("ImageSource", "Photo"),
    "recognizer": ("ListedLandmark", "Recognizer"),
}


def __getattr__(name: str) -> Any:
    """Import what is asked for, and nothing before: a command takes a tenth of all there is."""
    from importlib import import_module

    for module, names in _ROOMS.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

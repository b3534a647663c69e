"""What a request is refused with: a status, and a message that names the remedy."""

from collections.abc import Mapping

from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException


class Refusal(HTTPException):
    """Refuse a request."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        """Take the HTTP status, the message, and further headers of the response."""
        super().__init__(status, message, dict(headers or {}))


class Problem(BaseModel):
    """Why a request was not answered."""

    error: str = Field(
        description="What was wrong, and what to do.",
        examples=["photo.jpg: unknown file type; give a JPEG, PNG or WebP file (not_an_image)"],
    )


def busy(what: str) -> Refusal:
    """Return the refusal of a request that came while too many others wait."""
    return Refusal(429, f"{what}; ask again in a second", {"Retry-After": "1"})

"""How large a photo is, by its header alone: what is refused, and what is decoded together.

Whoever decodes it checks again, and says what is wrong with it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from pipelines.answers.photo import Photo
from rerank.hulls import Box

JPEG = b"\xff\xd8\xff"
SCALED = 4_000_000  # pixels that are left of a large JPEG, at the sides that recipes use
HEAD = 1 << 20  # bytes that are looked at: longer heads take seconds to parse
# These, unlike Image.open, warn of nothing and guess no format.
_READERS: dict[bytes, Callable[[BytesIO], ImageFile]] = {
    JPEG: JpegImageFile,
    b"\x89PNG": PngImageFile,
    b"RIFF": WebPImageFile,
}


def read_sides(data: bytes) -> tuple[int, int]:
    """Return width and height of a JPEG, PNG or WebP file, or zeros where its head does not say."""
    for start, reader in _READERS.items():
        if data.startswith(start):
            try:
                width, height = reader(BytesIO(data if start == b"RIFF" else data[:HEAD])).size
            except Exception:  # Pillow raises nearly anything on damaged files
                return 0, 0
            return int(width), int(height)
    return 0, 0


@dataclass(frozen=True, eq=False)
class Upload:
    """A photo that came with a request."""

    photo: Photo
    size: int  # width x height; 0 where its head does not say
    side: int = 0  # pixels of the longer one, likewise

    @classmethod
    def of(cls, data: bytes, name: str, box: Box | None = None) -> "Upload":
        """Take the bytes of a photo."""
        width, height = read_sides(data)
        return cls(Photo.of(data, name, box), width * height, max(width, height))

    @property
    def pixels(self) -> int:
        """How many pixels it takes in memory: a JPEG is scaled down while it is read."""
        source = self.photo.source
        is_jpeg = isinstance(source, bytes) and source.startswith(JPEG)
        return min(self.size, SCALED) if is_jpeg else self.size

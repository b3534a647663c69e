"""Make hostile image files for tests and benchmarks: damaged, cut, spliced, enormous; seeded.

Few of them are images. Writes no file.
"""

import random
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import cache

from PIL import Image

from tests.images import (
    JPEG_VARIANTS,
    PNG_SIGNATURE,
    encode,
    exif_orientation,
    photo,
    png,
    png_bomb,
    png_chunk,
    with_jpeg_size,
)

SIDES = (48, 64)  # pixels of an intact image: height, width
OTHERS = (  # what else is called .jpg, and the beginnings of what is more than one thing
    b"<!DOCTYPE html><script>alert(1)</script>",
    b"GIF89a\1\0\1\0\0\0\0;",
    b"BM" + bytes(60),
    b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj",
    b"PK\3\4" + bytes(40),
    b"\0\0\0\x20ftypheic" + bytes(40),
    b"II*\0\x08\0\0\0" + bytes(40),
    b"<svg xmlns='http://www.w3.org/2000/svg' width='99999999'/>",
    b"#!/bin/sh\nexit 1\n",
    b"\x1f\x8b\x08" + bytes(20),
)


@cache
def intact() -> tuple[bytes, ...]:
    """Return one small image of each kind that is read."""
    pixels = photo(*SIDES)
    image, exif = Image.fromarray(pixels), exif_orientation(5)
    frames = [Image.fromarray(photo(20, 20, seed)) for seed in (1, 2)]
    found = [encode(pixels, "JPEG", exif=exif, **options) for options in JPEG_VARIANTS.values()]
    found.append(encode(image.convert("CMYK"), "JPEG"))
    for mode in ("RGB", "P", "LA", "1", "I;16"):
        found.append(encode(image.convert("L" if mode[0] == "I" else mode), "PNG"))
    chunks = png_chunk(b"tRNS", b"\0\1"), png_chunk(b"eXIf", exif[6:])
    found.append(png(2, 1, 2, 0, b"\0\x10", *chunks))
    for format in ("PNG", "WEBP"):
        found.append(encode(frames[0], format, save_all=True, append_images=frames[1:], exif=exif))
    found += [encode(pixels, "WEBP", lossless=lossless) for lossless in (False, True)]
    return tuple(found)


def damage(data: bytes, chance: random.Random) -> bytes:
    """Flip, cut, repeat, drop or insert bytes, a few times."""
    broken = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at, kind = chance.randrange(len(broken) + 1), chance.randrange(6)
        length = chance.choice((1, 2, 4, 16, 200))
        if kind == 0:
            del broken[at:]
        elif kind == 1 and at < len(broken):
            broken[at] ^= 1 << chance.randrange(8)
        elif kind == 2:
            broken[at : at + length] = chance.randbytes(len(broken[at : at + length]))
        elif kind == 3:
            broken[at:at] = broken[at : at + length] * chance.choice((1, 2, 50))
        elif kind == 4:
            del broken[at : at + length]
        else:
            broken[at : at + 2] = chance.choice((b"\xff\xff", b"\0\0", b"\x7f\xff", b"\xff\xd8"))
    return bytes(broken)


def fix_checksums(data: bytes) -> bytes:
    """Give the chunks of a damaged PNG right checksums, so that the damage reaches the decoder."""
    parts, at = [data[:8]], 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4])
        parts.append(png_chunk(data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return b"".join(parts)


def _damaged(chance: random.Random) -> bytes:
    data = damage(chance.choice(intact()), chance)
    return fix_checksums(data) if data[:8] == PNG_SIGNATURE and chance.random() < 0.7 else data


def _truncated(chance: random.Random) -> bytes:
    data = chance.choice(intact())
    return data[: chance.randrange(len(data))]


def _flipped(chance: random.Random) -> bytes:
    data = bytearray(chance.choice(intact()))
    for _ in range(chance.choice((1, 8, 100))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return fix_checksums(bytes(data)) if data[:8] == PNG_SIGNATURE else bytes(data)


def _polyglot(chance: random.Random) -> bytes:
    """Two things in one file, one behind the other or one inside the other."""
    one, other = chance.choice(intact()), chance.choice((*intact(), *OTHERS))
    at = chance.choice((0, len(one), chance.randrange(len(one))))
    return one[:at] + other + one[at:]


@cache
def _bombs() -> tuple[bytes, ...]:
    """Files of a few kilobytes that say, or hold, far more."""
    jpeg = encode(photo(*SIDES), "JPEG")
    wide = struct.pack("<I", 1 << 30)[:3]
    webp = b"VP8X" + struct.pack("<I", 10) + bytes(4) + wide + wide
    text = png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(80 << 20)))
    profile = png_chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(80 << 20)))
    pixel = b"\0" + bytes(3)
    return (
        with_jpeg_size(jpeg, 65535, 65535),
        with_jpeg_size(jpeg, 7000, 7000),
        with_jpeg_size(jpeg, 1, 65535),
        png_bomb(20_000, 20_000),
        png_bomb(1, 400_000),
        png_bomb(7000, 7000),  # which is allowed
        png(2**31 - 1, 2**31 - 1, 8, 2, pixel),
        png(60_000, 800, 8, 2, pixel),
        png(1, 1, 8, 2, pixel, text),
        png(1, 1, 8, 2, pixel, profile),
        png(1, 1, 8, 2, pixel, png_chunk(b"teST", b"") * 5000),
        b"RIFF" + struct.pack("<I", len(webp) + 4) + b"WEBP" + webp,
        jpeg[:2] + b"\xff\xfe\0\2" * 50_000 + jpeg[2:],
    )


def _bomb(chance: random.Random) -> bytes:
    data = chance.choice(_bombs())
    return damage(data, chance) if chance.random() < 0.3 and len(data) < 1 << 17 else data


def _other(chance: random.Random) -> bytes:
    """No image at all, or the beginning of one before noise."""
    start = chance.choice((*OTHERS, b"", *(data[:24] for data in intact())))
    return start + chance.randbytes(chance.choice((0, 1, 30, 3000)))


# How often each kind is drawn. Bombs are dear: one takes as long as hundreds of the others.
KINDS: tuple[tuple[Callable[[random.Random], bytes], int], ...] = (
    (_damaged, 50),
    (_truncated, 15),
    (_flipped, 15),
    (_polyglot, 10),
    (_other, 8),
    (_bomb, 2),
)


def draw_mutants(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield so many hostile files, each with the name of its kind; the same of the same seed."""
    chance = random.Random(seed)
    makers, weights = zip(*KINDS, strict=True)
    for _ in range(count):
        (maker,) = chance.choices(makers, weights)
        yield maker.__name__.strip("_"), maker(chance)

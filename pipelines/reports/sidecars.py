"""Write what is known of a photo beside it, as XMP that photo managers read.

<photo>.jpg.xmp is what darktable and digiKam look for. A sidecar of another program is never
touched: only what begins as those written here is written anew, or taken away when its photo is
not recognised any more.
"""

import os
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from embed.errors import InputError
from embed.files import is_disk_full, writing
from embed.printable import printable
from pipelines.answers.answer import Answer

# Programs that change a sidecar put their own name into xmptk, so that it begins otherwise.
HEAD = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Cairn">\n'
)
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
NAMESPACES = {
    "dc": "http://purl.org/dc/elements/1.1/",
    "lr": "http://ns.adobe.com/lightroom/1.0/",
    "digiKam": "http://www.digikam.org/ns/1.0/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "Iptc4xmpCore": "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "cairn": "urn:x-cairn:answer:1.0/",
}
ROOT = "Landmarks"  # of the tree of keywords


def name_sidecar(photo: Path) -> Path:
    """Return where the sidecar of a photo is."""
    return photo.with_name(f"{photo.name}.xmp")


def write_sidecar(answer: Answer) -> None:
    """Write the sidecar of a recognised photo; of another, take away what was written before.

    Args:
        answer: whose image is the path of a file.

    Raises:
        InputError: another program's sidecar is there, or it cannot be written.
    """
    photo = Path(answer.image)
    if answer.error or not photo.is_file():
        return
    path = name_sidecar(photo)
    try:
        _renew(path, answer)
    except OSError as error:  # such as too long a name, or a folder that nobody may write to
        if is_disk_full(error):
            raise
        reason = os.strerror(error.errno or 0).lower()
        raise InputError(f"{path} cannot be written ({reason})") from error


def _renew(path: Path, answer: Answer) -> None:
    """Write a sidecar, or take it away where nothing is known."""
    if (path.exists() or path.is_symlink()) and not is_ours(path):
        if answer.label is None:
            return
        raise InputError(f"{path}: of another program, so it is left as it is; move it away")
    if answer.label is None:
        path.unlink(missing_ok=True)
        return
    # A name of its own: one made of a long file name may be too long.
    with writing(path, path.with_name(f".cairn-{os.getpid()}.xmp.tmp")) as temporary:
        temporary.write_text(format_sidecar(answer), "utf-8")


def is_ours(path: Path) -> bool:
    """Tell whether a sidecar was written here, and by no other program since."""
    head = HEAD.encode()
    try:
        if path.is_symlink() or not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(len(head)) == head
    except OSError:
        return False


def format_sidecar(answer: Answer) -> str:
    """Return the XMP packet of an answer that names a landmark."""
    name = printable(answer.name or str(answer.label))
    attributes = {
        "cairn:label": str(answer.label),
        "cairn:confidence": f"{answer.confidence:.6f}",
        "xmp:CreatorTool": "Cairn",
    }
    if answer.latitude is not None and answer.longitude is not None:
        attributes |= {
            "Iptc4xmpCore:Location": name,
            "exif:GPSVersionID": "2.3.0.0",
            "exif:GPSLatitude": format_degrees(answer.latitude, "NS"),
            "exif:GPSLongitude": format_degrees(answer.longitude, "EW"),
        }
    known = [f"xmlns:{prefix}={quoteattr(uri)}" for prefix, uri in NAMESPACES.items()]
    known += [f"{key}={quoteattr(value)}" for key, value in attributes.items()]
    rows = "\n    ".join(known)
    keywords = {
        "dc:subject": ("Bag", name),
        "lr:hierarchicalSubject": ("Bag", f"{ROOT}|{name.replace('|', '/')}"),
        "digiKam:TagsList": ("Seq", f"{ROOT}/{name.replace('/', '|')}"),
    }
    inner = "".join(
        f"   <{key}><rdf:{kind}><rdf:li>{escape(text)}</rdf:li></rdf:{kind}></{key}>\n"
        for key, (kind, text) in keywords.items()
    )
    return (
        f'{HEAD} <rdf:RDF xmlns:rdf="{RDF}">\n  <rdf:Description rdf:about=""\n    {rows}>\n'
        f'{inner}  </rdf:Description>\n </rdf:RDF>\n</x:xmpmeta>\n<?xpacket end="w"?>\n'
    )


def format_degrees(degrees: float, sides: str) -> str:
    """Return degrees as XMP has them (part 2, GPSCoordinate): whole ones, minutes, and the side.

    Args:
        degrees: north or east.
        sides: letters of what is above 0 and of what is below.

    >>> format_degrees(-43.7731, "NS"), format_degrees(11.999999999, "EW")
    ('43,46.386000S', '12,0.000000E')
    """
    millionths = round(abs(degrees) * 60 * 10**6)  # of a minute
    whole, rest = divmod(millionths, 60 * 10**6)
    minutes, fraction = divmod(rest, 10**6)
    return f"{whole},{minutes}.{fraction:06d}{sides[degrees < 0]}"

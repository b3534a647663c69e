"""Make a tiny mirror of GLDv2 for tests, and serve it on 127.0.0.1, with faults if asked for."""

import contextlib
import hashlib
import io
import tarfile
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.datasets import view
from tests.images import encode

# Training images by landmark; landmark 3 has one image only, and is not in train_clean.
TRAIN = {
    1: ["a1b2c3d4e5f60001", "0123456789ab0002", "fedcba9876540003"],
    2: ["a1bfffffffff0004", "0129999999990005"],
    3: ["5555555555550006"],
}
CLEAN = {1: TRAIN[1][:2], 2: TRAIN[2]}
# The index numbers its landmarks in its own way: its 1 is the training set's 2.
INDEX = {1: ["beef000000000011", "beef000000000012"], 7: ["cafe000000000013"]}
UNLABELLED = "dead000000000014"
TEST = ["0a00000000000021", "0b00000000000022", "0c00000000000023", "0d00000000000024"]
COMMONS = "http://commons.wikimedia.org/wiki/Category:"
NUMBERS = {"train": (0, 1), "index": (0,), "test": (0,)}  # of the tars that a mirror has


def picture(image_id: str) -> bytes:
    """Return the JPEG of an image."""
    return encode(view(int(image_id[-2:], 16), 0), "JPEG")


def tar_bytes(ids: list[str]) -> bytes:
    """Return a tar as GLDv2's are: a/b/c/<id>.jpg."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for image_id in ids:
            data = picture(image_id)
            member = tarfile.TarInfo(f"{image_id[0]}/{image_id[1]}/{image_id[2]}/{image_id}.jpg")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def mirror_files() -> dict[str, bytes]:
    """Return all files of the mirror by path, md5 texts included."""
    train = [image_id for ids in TRAIN.values() for image_id in ids]
    index = [image_id for ids in INDEX.values() for image_id in ids]
    files = {name: text.encode() for name, text in _tables().items()}
    tars = {
        "train/images_000.tar": train[::2],
        "train/images_001.tar": train[1::2],
        "index/images_000.tar": [*index, UNLABELLED],
        "test/images_000.tar": TEST,
    }
    for path, ids in tars.items():
        files[path] = data = tar_bytes(ids)
        split, name = path.removesuffix(".tar").split("/")
        line = f"{hashlib.md5(data).hexdigest()}  {name}.tar\n"
        files[f"md5sum/{split}/md5.{name}.txt"] = line.encode()
    return files


def _tables() -> dict[str, str]:
    train = [(image_id, label) for label, ids in TRAIN.items() for image_id in ids]
    index = [(image_id, label) for label, ids in INDEX.items() for image_id in ids]
    hierarchy = "landmark_id,category,supercategory,hierarchical_label,natural_or_human_made"
    tables = {
        "metadata/train.csv": [
            "id,url,landmark_id",
            *(f'{image_id},"http://x/{image_id},1.jpg",{label}' for image_id, label in train),
        ],
        "metadata/train_clean.csv": [
            "landmark_id,images",
            *(f"{label},{' '.join(ids)}" for label, ids in CLEAN.items()),
        ],
        "metadata/train_label_to_category.csv": [
            "landmark_id,category",
            f"1,{COMMONS}Caf%C3%A9_de_Flore",
            f"2,{COMMONS}Tower",
        ],
        "metadata/train_label_to_hierarchical.csv": [
            hierarchy,
            f"1,{COMMONS}Caf%C3%A9_de_Flore,cafe,commercial,human-made",
            f"2,{COMMONS}Tower,tower,building,human-made",
        ],
        "metadata/index.csv": ["id", *(image_id for image_id, _ in index), UNLABELLED],
        "metadata/index_image_to_landmark.csv": [
            "id,landmark_id",
            *(f"{image_id},{label}" for image_id, label in index),
        ],
        "metadata/index_label_to_category.csv": [
            "landmark_id,category",
            f'7,"{COMMONS}Falls,_Great"',
            f"1,https{COMMONS[4:]}Tower",
        ],
        "metadata/index_label_to_hierarchical.csv": [
            hierarchy,
            f'7,"{COMMONS}Falls,_Great",waterfall,waterbody,natural',
            f"1,{COMMONS}Tower,another word,building,human-made",
        ],
        "metadata/test.csv": ["id", *TEST],
        "ground_truth/recognition_solution_v2.1.csv": [
            "id,landmarks,Usage",
            f"{TEST[0]},1,Public",
            f"{TEST[1]},2 3,Private",
            f"{TEST[2]},,Private",
        ],
        "ground_truth/retrieval_solution_v2.1.csv": [
            "id,images,Usage",
            f"{TEST[0]},{INDEX[1][0]} {INDEX[1][1]} {INDEX[7][0]},Public",
            f"{TEST[1]},{INDEX[7][0]},Private",
            f"{TEST[2]},None,Ignored",
            f"{TEST[3]},None,Ignored",
        ],
    }
    return {path: "\n".join(lines) + "\n" for path, lines in tables.items()}


def write_mirror(folder: Path) -> Path:
    """Write the mirror as a folder."""
    for path, data in mirror_files().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def unpack(mirror: Path, split: str) -> None:
    """Unpack the tars of a split as GLDv2's script does, and delete them."""
    for path in (mirror / split).glob("*.tar"):
        with tarfile.open(path) as tar:
            tar.extractall(mirror / split, filter="data")
        path.unlink()


@dataclass
class Server:
    """What a server on 127.0.0.1 gives, which faults it has, and what it was asked."""

    files: dict[str, bytes]
    base: str = ""
    ranges: bool = True
    versions: bool = True  # tells ETags
    encoding: str = ""  # what the header says of bodies
    cuts: dict[str, list[int]] = field(default_factory=dict)  # bytes after which a GET is cut
    statuses: dict[str, list[int]] = field(default_factory=dict)  # answers instead of a GET
    sent: Counter[str] = field(default_factory=Counter)  # bytes of bodies by path
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)  # method, path, Range

    def count(self, method: str, path: str) -> int:
        """Return how often a path was asked for."""
        return sum(entry[:2] == (method, path) for entry in self.asked)


@contextlib.contextmanager
def serving(files: Mapping[str, bytes]) -> Iterator[Server]:
    """Serve files on a free port of 127.0.0.1 until the block ends."""
    server = Server(dict(files))
    handler = type("Handler", (_Handler,), {"state": server})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        server.base = f"http://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    state: Server

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        state, path = self.state, self.path.lstrip("/")
        state.asked.append((self.command, path, self.headers.get("Range")))
        statuses = state.statuses.get(path) if body else None
        if statuses or path not in state.files:
            self.send_error(statuses.pop(0) if statuses else 404)
            return
        data = state.files[path]
        tag = f'"{hashlib.md5(data).hexdigest()}"'
        start = self._start(tag) if state.ranges else 0
        if start and start >= len(data):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(data)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        if state.versions:
            self.send_header("ETag", tag)
        if state.encoding:
            self.send_header("Content-Encoding", state.encoding)
        self.end_headers()
        if body:
            self._send(path, data[start:])

    def _start(self, tag: str) -> int:
        """Return the first byte asked for; 0 for all, also if the file is another one by now."""
        wanted = self.headers.get("Range")
        if wanted is None or self.headers.get("If-Range") not in (None, tag):
            return 0
        return int(wanted.removeprefix("bytes=").rstrip("-"))

    def _send(self, path: str, data: bytes) -> None:
        cuts = self.state.cuts.get(path)
        data = data[: cuts.pop(0)] if cuts else data
        self.wfile.write(data)
        self.state.sent[path] += len(data)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

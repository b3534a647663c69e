"""Servers as an afternoon makes them: FastAPI, one photo a request, no batches, no limits.

What bench_serve compares with, over the same run. `script` is what people write around the same
network: Pillow, torch, IndexFlatIP, OpenCV's SIFT, ratio test and RANSAC. `api` asks a Recognizer.

python -m tests.benchmarks.plain_serve script|api RUN
"""

import io
import socket
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import uvicorn
from fastapi import FastAPI, Request
from numpy.typing import NDArray
from PIL import Image

from pipelines.recognizer import Recognizer

PORT_LINE = "serving "  # begins the line that says where a server is
VOTES = 5

Answer = dict[str, object]
Sift = tuple[NDArray[np.float32], NDArray[np.float32]]  # points [M, 2], descriptors [M, 128]


class Script:
    """The network of a run, its descriptors, and the local features of its photos."""

    def __init__(self, run: Path) -> None:
        """Read them."""
        import faiss
        import torch

        from pipelines.answers.stored_model import open_model

        self.torch: Any = torch
        with Recognizer.load(run) as recognizer:
            retriever, settings = recognizer.opened.retriever, recognizer.opened.recipe.rerank
        self.model, _ = open_model(run)
        database, features = retriever.database, retriever.features
        rows = np.arange(len(database.rows))
        self.whitening, self.labels = database.whitening, database.rows.landmark_ids
        self.index = faiss.IndexFlatIP(database.images.dim)
        self.index.add(database.images.whole(rows))
        self.side, self.settings = settings.max_side, settings
        self.sift = cv2.SIFT.create(settings.max_features)
        self.features: dict[int, Sift] = {}
        if features is not None:
            known = zip(rows.tolist(), features.get_many(database.rows.ids(rows)), strict=True)
            self.features = {
                row: (each.keypoints, each.descriptors.astype(np.float32))
                for row, each in known
                if each is not None
            }

    def answer(self, data: bytes) -> Answer:
        """Recognise a photo."""
        photo = Image.open(io.BytesIO(data)).convert("RGB")
        scores, rows = self.index.search(self._describe(photo), self.settings.candidates)
        local = self._find_sift(photo)
        inliers = [self._count_inliers(local, self.features.get(row)) for row in rows[0].tolist()]
        votes = Counter[int]()
        best = np.argsort(-(scores[0] + np.minimum(inliers, 70) / 70))[:VOTES]
        for place in best.tolist():
            votes[int(self.labels[rows[0, place]])] += float(scores[0, place]) + inliers[place] / 70
        ((label, score),) = votes.most_common(1)
        return {"label": label, "confidence": score, "inliers": inliers}

    def _describe(self, photo: Image.Image) -> NDArray[np.float32]:
        spec = self.model.spec
        square = photo.resize((spec.image_size, spec.image_size), Image.Resampling.BILINEAR)
        mean, std = (np.array(of, np.float32) for of in (spec.backbone.mean, spec.backbone.std))
        pixels = (np.asarray(square, np.float32) / 255 - mean) / std
        with self.torch.inference_mode():
            batch = self.torch.from_numpy(pixels.transpose(2, 0, 1)[None])
            vectors: NDArray[np.float32] = self.model(batch).numpy()
        return vectors if self.whitening is None else self.whitening.apply(vectors)

    def _find_sift(self, photo: Image.Image) -> Sift:
        factor = self.side / max(photo.size)
        grey = cv2.cvtColor(np.asarray(photo), cv2.COLOR_RGB2GRAY)
        grey = cv2.resize(grey, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        found, raw = self.sift.detectAndCompute(grey, None)
        if raw is None:
            return np.empty((0, 2), np.float32), np.empty((0, 128), np.float32)
        points = np.array([point.pt for point in found], np.float32) / np.float32(factor)
        return points, 512 * np.sqrt(raw / np.maximum(raw.sum(axis=1, keepdims=True), 1e-12))

    def _count_inliers(self, query: Sift, image: Sift | None) -> int:
        if image is None or min(len(query[0]), len(image[0])) < 3:
            return 0
        pairs = cv2.BFMatcher().knnMatch(query[1], image[1], k=2)
        ratio = self.settings.max_ratio
        good = [first for first, second in pairs if first.distance < ratio * second.distance]
        if len(good) < 3:
            return 0
        here = np.array([query[0][match.queryIdx] for match in good])
        there = np.array([image[0][match.trainIdx] for match in good])
        _, mask = cv2.estimateAffine2D(here, there, ransacReprojThreshold=8)
        return 0 if mask is None else int(mask.sum())


def load_api(run: Path) -> Callable[[bytes], Answer]:
    """Return what asks a Recognizer."""
    recognizer = Recognizer.load(run)
    return lambda data: {"answers": [recognizer.recognize(data).to_json()]}


def make_app(answer: Callable[[bytes], Answer]) -> FastAPI:
    """Return an application that answers photos one by one."""
    app = FastAPI()

    @app.post("/v1/recognize")
    async def ask(request: Request) -> Answer:
        return answer(await request.body())

    return app


def main() -> None:
    """Serve until the process is ended."""
    kind, run = sys.argv[1], Path(sys.argv[2])
    answer = Script(run).answer if kind == "script" else load_api(run)
    settings = uvicorn.Config(make_app(answer), log_level="warning")
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listening:
        print(f"{PORT_LINE}http://127.0.0.1:{listening.getsockname()[1]}/", flush=True)
        uvicorn.Server(settings).run(sockets=[listening])


if __name__ == "__main__":
    main()

"""Show what a run looked at when it answered: saliency, Grad-CAM and DELF's attention of photos.

Reads a run folder, the photos, and the explained neighbour's photo where the dataset is still
there. Writes one PNG a photo. One view is explained, the whole image at scale 1, whatever views
the run describes; of an ensemble it is the first model, the one that DELF works with, too.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from embed.decode import ImageError, decode_image
from embed.errors import InputError, MissingFileError
from embed.explain import Score, class_logit, cosine_to, grad_cam, saliency
from embed.tensors import to_tensor
from embed.torch_engine import pick_device
from embed.transforms import resize_image
from pipelines.answers.answer import Answer, Match
from pipelines.answers.live import find_file
from pipelines.answers.open_run import load_split_embeddings
from pipelines.answers.opened_run import OpenedRun
from pipelines.answers.photo import Photo
from pipelines.answers.stored_model import open_head, open_model
from pipelines.runs.engines import TORCH
from pipelines.runs.members import list_members
from rerank.delf.attention_map import attention_map
from rerank.delf.extractor import DelfExtractor

from .explain_figure import PHOTO_SIDE, Panel, draw_panels, pick_path

FOLDER = "explain"  # of a run, where the pictures go
NEIGHBORS = 5  # asked for: one is explained
BRIGHTEST = 0.99  # share of pixels below the brightest colour of saliency: few stand out far


@dataclass(frozen=True)
class Explanation:
    """The answer to a photo and its picture."""

    answer: Answer
    subject: str = ""  # what is explained, for people
    path: Path | None = None  # None where the photo could not be read


@dataclass(frozen=True)
class Subject:
    """The score that is explained."""

    score: Score
    title: str
    neighbor: Match | None = None  # whose photo is shown beside


class Explainer:
    """A run, loaded and ready to be asked why."""

    def __init__(
        self,
        run: Path,
        data: Path | None = None,
        *,
        into: Path | None = None,
        landmark_id: int | None = None,
    ) -> None:
        """Load the run.

        Args:
            run: run folder.
            data: dataset folder; None for what run.json says.
            into: folder for the pictures; None for explain/ in the run folder.
            landmark_id: explain what the classification head says of this landmark; None for the
                neighbour that speaks most for the answer, or where the recipe's policy lets the
                head alone answer, for its class.

        Raises:
            FileNotFoundError: the run is not there, or not indexed.
            InputError: its parts do not belong together, or its head does not know the landmark.
        """
        self.opened = OpenedRun.open(run, engine=TORCH, data=data)
        self.folder = into or run / FOLDER
        self.first = self.opened.describer.members[0]
        folder, device = next(iter(list_members(run, self.opened.recipe))), pick_device()
        self.model, self.head = open_model(folder)[0].to(device), open_head(folder, device)
        labels = self.head.landmark_ids.tolist()
        self.place_of = {label: place for place, label in enumerate(labels)}
        if landmark_id is not None and landmark_id not in self.place_of:
            known = sorted(self.place_of)
            raise InputError(
                f"the head of {run} has no class {landmark_id}; it has {len(known)}, the first are "
                f"{', '.join(map(str, known[:5]))}: name one, or none to explain the neighbour"
            )
        self.landmark_id = landmark_id
        # Then neighbours said nothing, whatever they show.
        self.head_answers = self.opened.decision.policy.fusion.name == "head"

    def explain(self, photo: Path) -> Explanation:
        """Answer a photo and draw why; one that cannot be read is an answer with an error."""
        answer = self.opened.answer([Photo.of(photo)], NEIGHBORS)[0]
        if answer.error:
            return Explanation(answer)
        subject = self._choose_subject(answer)
        panels = self._make_panels(photo, answer, subject)
        path = pick_path(self.folder, photo)
        draw_panels(panels, self.first.views.square, photo, path)
        return Explanation(answer, subject.title, path)

    def _choose_subject(self, answer: Answer) -> Subject:
        """Return the class that was asked for, or what speaks for the answer."""
        label = self.landmark_id
        if label is None and answer.best is None:
            label = answer.label  # no neighbour shows it: the head alone named it
        elif label is None and answer.best is not None and self.head_answers:
            label = answer.best.label
        if label is not None and label in self.place_of:
            return self._explain_class(label)
        return self._explain_neighbor(answer.best or answer.neighbors[0])

    def _explain_neighbor(self, near: Match) -> Subject:
        database = self.opened.retriever.database
        if self.opened.recipe.ensemble.members:
            # The index holds the descriptors of all models, one behind the other and whitened.
            score = cosine_to(self._describe_first(near.image_id))
            return Subject(score, f"the first model's similarity to {near.image_id}", near)
        row = database.rows.rows_of([near.image_id])
        descriptor = database.images.whole(row)[0]
        of = f"similarity {near.similarity:.2f}"
        if database.images.per_image > 1:  # which that of the best regions is not
            of = "similarity of the whole photos"
        title = f"{of} to {near.image_id}, {near.name}"
        return Subject(cosine_to(descriptor, database.whitening), title, near)

    def _describe_first(self, image_id: str) -> NDArray[np.float32]:
        """Return what the first model of an ensemble says of a photo of the database, [dim]."""
        database = self.opened.retriever.database
        added = find_file(database.added, image_id)
        if added is not None:  # a change has the descriptors of all models, one behind the other
            image = self.opened.describer.decode(added)
            described, _ = self.first.describe([image], ("",))
            return np.asarray(described.vectors[0])
        folder = next(iter(list_members(self.opened.run, self.opened.recipe)))
        stored = load_split_embeddings(folder, database.split)
        if image_id not in stored.ids:
            raise MissingFileError(
                f"the photo {image_id}, which was added, is gone, and only it tells what the first "
                "model of an ensemble says of it; add it again"
            )
        return np.asarray(stored.vectors[stored.ids.index(image_id)])

    def _explain_class(self, landmark_id: int) -> Subject:
        score = class_logit(self.head.logits, self.place_of[landmark_id])
        return Subject(score, f"the head's class {self.opened.retriever.name(landmark_id)}")

    def _make_panels(self, photo: Path, answer: Answer, subject: Subject) -> list[Panel]:
        model, limit = self.model, self.opened.recipe.decode.max_pixels
        # Decoded for the network as it is when it answers, and again large enough to look at.
        side, seen = model.spec.image_size, self.opened.describer.decode(photo).pixels
        square, stride = self.first.views.square, model.backbone.stride
        view = to_tensor(resize_image(seen, side, square, stride))[None]
        shown = decode_image(photo, min_side=PHOTO_SIDE, max_pixels=limit).pixels
        slopes = _to_numpy(saliency(model, view, subject.score))
        panels = [Panel(_describe_answer(answer), shown), *self._show_neighbor(subject.neighbor)]
        top = float(np.quantile(slopes, BRIGHTEST))
        panels.append(Panel(f"Saliency: {subject.title}", shown, slopes, top, 1.0))
        panels.append(_overlay("Grad-CAM: the same", shown, grad_cam(model, view, subject.score)))
        if self._delf is not None:
            heat = attention_map(model, self._delf.local, view)
            panels.append(_overlay("Attention of DELF, whatever the answer", shown, heat))
        return panels

    def _show_neighbor(self, near: Match | None) -> list[Panel]:
        """Return the photo of the neighbour; nothing where it is not there any more."""
        if near is None:
            return []
        try:
            file = self.opened.locate(near.image_id)
            pixels = decode_image(
                file, min_side=PHOTO_SIDE, max_pixels=self.opened.recipe.decode.max_pixels
            ).pixels
        except (FileNotFoundError, ImageError):
            return []
        return [Panel(f"Neighbour: {near.name}", pixels)]

    @cached_property
    def _delf(self) -> DelfExtractor | None:
        """The run's own DELF, where it compares local features that it made."""
        extractor = self.opened.describer.extractor
        return extractor if isinstance(extractor, DelfExtractor) else None


def _overlay(title: str, shown: NDArray[np.uint8], heat: Tensor) -> Panel:
    values = _to_numpy(heat)
    return Panel(title, shown, values, float(values.max()))


def _to_numpy(maps: Tensor) -> NDArray[np.float32]:
    """Return the map [S, S] of the one image."""
    return maps[0].to("cpu", torch.float32).numpy()


def _describe_answer(answer: Answer) -> str:
    if answer.label is None:
        return f"No known landmark: {answer.reason}"
    return f"{answer.name}, confidence {answer.confidence:.3f}"

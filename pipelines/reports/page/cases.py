"""Turn queries of a run into cases for people: what was answered, what is true, and the photos."""

from dataclasses import dataclass

from classify_head.answers import NO_LANDMARK
from pipelines.answers.supporters import measure_strength

from .album import Album
from .answers import RunAnswers
from .errors import Error, Kind
from .neighbors import Neighbor
from .records import Case, Picture, Tone

NEIGHBORS = 3  # shown of each query
TONES: dict[Kind, Tone] = {
    "wrong label": "bad",
    "distractor": "bad",
    "no answer": "warn",
    "ranked too low": "warn",
}


@dataclass(frozen=True)
class CaseBuilder:
    """The answers of a run and its photos."""

    run: RunAnswers
    album: Album

    def build_error(self, error: Error) -> Case:
        """Return an answer that was wrong, or right but not sure enough."""
        answer, price = self._answer(error.row), _format_loss(error.lost)
        if error.kind == "ranked too low":
            title = f"{answer}: right, but not sure"
            price = f"loses {price} to surer wrong answers, {error.wrong_above} of them"
        else:
            distractor = error.kind == "distractor"
            truth = "shows nothing known" if distractor else f"is {self._truth(error.row)}"
            joint = ", but" if self.run.given[error.row] else ";"
            title, price = f"{answer}{joint} it {truth}", f"costs {price}"
        return self._build(error.row, title, error.kind, TONES[error.kind], price)

    def build_right(self, row: int) -> Case:
        """Return an answer that was right."""
        return self._build(row, self._answer(row), "right", "good")

    def build_unjudged(self, row: int) -> Case:
        """Return an answer of which nobody knows whether it is right."""
        badge = "answered" if self.run.given[row] else "refused"
        return self._build(row, self._answer(row), badge, "plain")

    def _build(self, row: int, title: str, badge: str, tone: Tone, *more: str) -> Case:
        answers = self.run.answers
        facts = [f"photo {answers.query_ids[row]}", *more]
        if answers.labels[row] != NO_LANDMARK:
            facts.insert(1, f"confidence {answers.confidences[row]:.3f}")
        if not self.run.given[row]:
            facts.append(f"refused: {self.run.reasons[row]}")
        for further, confidence in self.run.further.get(answers.query_ids[row], ()):
            facts.append(f"also {self.album.name(further)}, confidence {confidence:.3f}")
        guess = int(self.run.guesses[row])
        label = None if guess == NO_LANDMARK else guess
        near = self.album.find_supporters(answers.query_ids[row], label, NEIGHBORS)
        pictures = tuple(self.album.show_neighbor(found, label) for found in near)
        return Case(title, badge, tone, tuple(facts), tuple(self._pairs(row)), pictures)

    def _pairs(self, row: int) -> list[Picture]:
        """Return the query beside the best photo of what was answered, and of what is true."""
        answers = self.run.answers
        query_id, guess = answers.query_ids[row], int(answers.labels[row])
        pairs = []
        if guess != NO_LANDMARK:
            near = self.album.find_best(query_id, guess)
            title = f"{'Answered' if self.run.given[row] else 'Guessed'}: {self.album.name(guess)}"
            pairs.append(self.album.show_pair(query_id, near, title))
        if not answers.correct[row] and answers.truths[row]:
            label, near = self._find_truth(row)
            title = f"True: {self.album.name(label)}"
            if not self.album.has_photo(label):
                title += ", of which the database has no photo"
            pairs.append(self.album.show_pair(query_id, near, title))
        return pairs

    def _find_truth(self, row: int) -> tuple[int, Neighbor | None]:
        """Return the true landmark that the database shows best, and its best photo."""
        query_id = self.run.answers.query_ids[row]
        labels = sorted(self.run.answers.truths[row])
        found = [(label, self.album.find_best(query_id, label)) for label in labels]
        return max(found, key=lambda pair: _strength(pair[1]))

    def _answer(self, row: int) -> str:
        label = int(self.run.answers.labels[row])
        if label == NO_LANDMARK:
            return "No answer"
        name = self.album.name(label)
        return name if self.run.given[row] else f"{name}, refused"

    def _truth(self, row: int) -> str:
        labels = sorted(self.run.answers.truths[row])
        return " and ".join(self.album.name(label) for label in labels)


def _format_loss(lost: float) -> str:
    return f"{lost:.4f} of GAP" if lost >= 5e-5 else "less than 0.0001 of GAP"


def _strength(near: Neighbor | None) -> tuple[bool, int, float]:
    """Order the photos of several true landmarks: no photo, few inliers, little similarity."""
    return (False, 0, 0.0) if near is None else (True, *measure_strength(near))

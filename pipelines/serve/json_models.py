"""What the API answers, typed for its OpenAPI document: `Answer.to_json` and a few more records."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

Corners = tuple[int, int, int, int]
XY = tuple[float, float]


class JsonBody(BaseModel):
    """Part of a response; a field that is not described is an error of ours."""

    model_config = ConfigDict(extra="forbid")


class JsonMatch(JsonBody):
    """A database photo beside the one that was asked about."""

    image_id: str = Field(examples=["0a1b2c3d4e5f6071"])
    label: int = Field(examples=[1])
    name: str = Field(examples=["Dovecote Water Tower"])
    rank: int | None = Field(
        description="Among the neighbours, from 0 for the nearest; null if behind them."
    )
    similarity: float = Field(description="Cosine of the two descriptors.", examples=[0.83])
    inliers: int | None = Field(
        description="Local features that one transform explains; null if not compared.",
        examples=[74],
    )
    verified: bool = Field(description="There are more inliers than chance gives.")
    votes: float = Field(description="What it added to the score of its label.")
    query_box: Corners | None = Field(
        description="Left, top, right, bottom of the region of the photo that is most alike, in "
        "pixels of the upright original; null: the whole photo."
    )
    box: Corners | None = Field(description="The same in the database photo.")


class JsonRankedLabel(JsonBody):
    """A landmark that a photo may show."""

    label: int
    name: str
    probability: float | None = Field(
        description="That it is right; null where the run knows no probabilities."
    )
    votes: float


class JsonFurther(JsonBody):
    """Another landmark in a photo, verified in another part of it."""

    label: int
    name: str
    confidence: float
    box: Corners = Field(description="Pixels of the upright original.")
    image_id: str
    inliers: int


class JsonAnswer(JsonBody):
    """The answer to one photo: `label` is null where it shows no known landmark."""

    image: str = Field(description="The name that the photo came with.", examples=["photo.jpg"])
    label: int | None = Field(examples=[1])
    name: str | None = Field(examples=["Dovecote Water Tower"])
    confidence: float = Field(description="Of the guess; higher is surer.", examples=[0.97])
    reason: str = Field(description="Why there is no known landmark; empty if there is one.")
    guess: int | None = Field(description="The likeliest landmark, answered or not.")
    top: list[JsonRankedLabel] = Field(description="The guess, and what is likeliest after it.")
    neighbors: list[JsonMatch] = Field(
        description="Database photos: what speaks for the guess, then what speaks for another."
    )
    best: JsonMatch | None = Field(description="What speaks most for the guess.")
    region: list[XY] = Field(
        description="Corners around the verified matches, x and y in pixels of the upright "
        "original; empty if not verified."
    )
    further: list[JsonFurther]
    explanation: str = Field(description="How the confidence came about, in two sentences.")
    penalty: float = Field(description="Likeness to photos without a landmark, a cosine.")
    details: dict[str, str] = Field(description="Other columns of labels.csv.")
    error: str = Field(description="Why the photo could not be read; else empty.")
    latitude: float | None = Field(description="Degrees north, where labels.csv says so.")
    longitude: float | None = Field(description="Degrees east, likewise.")


MATCH: dict[str, Any] = {
    "image_id": "c4b3f909f54cef4e",
    **{"label": 50, "name": "Marlowe Theatre", "rank": 0, "similarity": 0.7279, "inliers": 98},
    **{
        "verified": True,
        "votes": 0.156,
        "query_box": [52, 111, 234, 229],
        "box": [8, 20, 310, 215],
    },
}
EXAMPLE: dict[str, Any] = {
    "image": "photo.jpg",
    **{"label": 50, "name": "Marlowe Theatre", "confidence": 0.9993, "reason": "", "guess": 50},
    "top": [
        {"label": 50, "name": "Marlowe Theatre", "probability": 0.9993, "votes": 0.156},
        {"label": 45, "name": "Everwood Station", "probability": 0.0002, "votes": 0.016},
    ],
    **{"neighbors": [MATCH], "best": MATCH},
    "region": [[234.1, 163.8], [146.4, 229.4], [52.1, 205.2], [117.9, 111.3]],
    "explanation": "Confidence 0.999 that this is Marlowe Theatre.",
    **{"further": [], "penalty": 0.21, "details": {"style": "gothic"}, "error": ""},
    **{"latitude": 45.2903, "longitude": 7.1675},
}


class JsonAnswers(JsonBody):
    """The answers, in the order of the photos."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"answers": [EXAMPLE]}]}
    )

    answers: list[JsonAnswer]


class JsonNeighbors(JsonBody):
    """The nearest database photos, the nearest first."""

    neighbors: list[JsonMatch]


class JsonComparison(JsonBody):
    """Where a photo and a database photo show the same."""

    compared: bool = Field(description="false where the run compares no local features.")
    verified: bool = Field(description="There are more inliers than chance gives.")
    points: list[XY] = Field(description="Of the inliers, in pixels of the upright photo.")
    stored_points: list[XY] = Field(description="The same in the database photo.")
    stored_size: tuple[int, int] | None = Field(
        description="Width and height of the upright database photo, in pixels."
    )


class JsonLandmark(JsonBody):
    """A landmark that the database has photos of."""

    label: int = Field(examples=[1])
    name: str | None = Field(examples=["Dovecote Water Tower"])
    photos: int = Field(examples=[12])
    image_id: str = Field(description="Of one of them.", examples=["0a1b2c3d4e5f6071"])


class JsonLandmarks(JsonBody):
    """A part of the list of landmarks, by label."""

    total: int = Field(description="How many there are, or how many fit what is searched.")
    landmarks: list[JsonLandmark]


class JsonAddedLandmark(JsonBody):
    """What photos were added to."""

    label: int
    name: str | None
    new: bool = Field(description="The landmark is new.")
    image_ids: list[str]


class JsonAddition(JsonBody):
    """What became of photos that were to be added."""

    added: list[JsonAddedLandmark]
    known: list[str] = Field(description="Ids of photos that the database had already.")
    errors: list[str] = Field(description="Why photos could not be read.")


class JsonRemoval(JsonBody):
    """How many photos were removed and are left, by label."""

    removed: dict[int, int]
    left: dict[int, int]


class JsonHealth(JsonBody):
    """That the server answers, and what with."""

    status: str = Field(examples=["ok"])
    version: str = Field(examples=["0.1.0"])

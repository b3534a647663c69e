"""The routes of the JSON API: photos in, answers out; landmarks listed, added and removed."""

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal
from unicodedata import category

from fastapi import APIRouter, Depends, Query, Request, Response, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BeforeValidator

from embed.printable import printable
from embed.settings import LARGEST
from pipelines.recognizer import TOGETHER, Recognizer

from .connection import while_connected
from .guard import is_token
from .json_models import (
    JsonAddition,
    JsonAnswers,
    JsonComparison,
    JsonLandmarks,
    JsonNeighbors,
    JsonRemoval,
)
from .refusal import Problem, Refusal
from .service import Service
from .sizes import Upload
from .uploads import Body, parse_box, read_body

if TYPE_CHECKING:
    from pipelines.stages.remove import Removal

MOST_NEIGHBORS = 50
MOST_ADDED = 32  # photos of one request
LONGEST_TITLE = 200  # characters of the name of a landmark
MOST_LISTED = 1000  # landmarks of one response

bearer = HTTPBearer(auto_error=False, description="The token of the server.")
Token = Annotated[HTTPAuthorizationCredentials | None, Security(bearer)]


def _check_plain(text: str) -> str:
    """Raise ValueError unless a number is in digits alone: 1_0 is a slip, and no 10."""
    if not (text.isascii() and text.removeprefix("-").isdecimal()):
        raise ValueError("expected a whole number")
    return text


Label = Annotated[int, BeforeValidator(_check_plain)]
Count = Annotated[int, Query(ge=0, le=MOST_NEIGHBORS, description="Database photos to return.")]
BoxText = Annotated[
    str | None,
    Query(
        description="The part of the photo that is meant: left,top,right,bottom in pixels of the "
        "upright photo.",
        examples=["120,80,900,760"],
    ),
]
# Routes read their bodies themselves, within the limits.
PHOTOS: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A JPEG, PNG or WebP file, or a form with one or several.",
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "photo": {"type": "array", "items": {"type": "string", "format": "binary"}}
                    },
                }
            },
            "image/*": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
ADDED: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "photo": {"type": "array", "items": {"type": "string", "format": "binary"}},
                        "name": {"type": "string", "description": "A new one names a landmark."},
                        "label": {"type": "integer", "description": "Of a landmark that is there."},
                    },
                }
            }
        },
    }
}
REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"model": Problem, "description": "The token is missing or wrong."},
    403: {"model": Problem, "description": "A page of another origin asks."},
    404: {"model": Problem, "description": "There is no such photo or landmark."},
    408: {"model": Problem, "description": "The request took too long to arrive."},
    413: {"model": Problem, "description": "Too many bytes or pixels."},
    415: {"model": Problem, "description": "The body is neither a photo nor a form."},
    421: {"model": Problem, "description": "The server is not called as Host says."},
    422: {"model": Problem, "description": "No photo can be read, or a value is wrong."},
    429: {"model": Problem, "description": "Too much waits; see the header Retry-After."},
    503: {"model": Problem, "description": "No answer in time, or the run is gone."},
    507: {"model": Problem, "description": "The disk is full."},
}


def get_service(request: Request) -> Service:
    """Return what the application asks."""
    service: Service = request.app.state.service
    return service


Asked = Annotated[Service, Depends(get_service)]


def may_ask(service: Asked, token: Token) -> None:
    """Refuse who may not ask: others than this machine need the token."""
    if service.options.is_private:
        _check(service, token)


def may_change(service: Asked, token: Token) -> None:
    """Refuse who may not change the database: that needs the token always."""
    _check(service, token)


def _check(service: Service, token: HTTPAuthorizationCredentials | None) -> None:
    if token is None or not is_token(token.credentials, service.options.token):
        found = "is missing" if token is None else "is wrong"
        raise Refusal(
            401,
            f"the token {found}; send the one that the server was given, or that it printed, as "
            "Authorization: Bearer TOKEN",
            {"WWW-Authenticate": "Bearer"},
        )


questions = APIRouter(prefix="/v1", dependencies=[Depends(may_ask)], responses=REFUSALS)
changes = APIRouter(prefix="/v1", dependencies=[Depends(may_change)], responses=REFUSALS)


@questions.post("/recognize", openapi_extra=PHOTOS)
async def recognize(
    request: Request, service: Asked, neighbors: Count = 5, box: BoxText = None
) -> JsonAnswers:
    """Say which landmark is in each photo, how sure, or that there is none that is known.

    Of several photos, one that cannot be read has an `error` in its place; 422 if that are all.
    """
    body = await read_body(request, service.max_pixels, TOGETHER, parse_box(box))
    answers = await while_connected(request, service.recognize(body.uploads, neighbors))
    if all(answer.error for answer in answers):
        raise Refusal(422, "\n".join(answer.error for answer in answers))
    return JsonAnswers.model_validate({"answers": [answer.to_json() for answer in answers]})


@questions.post("/neighbors", openapi_extra=PHOTOS)
async def neighbors(
    request: Request,
    service: Asked,
    k: Annotated[int, Query(ge=1, le=1000, description="How many.")] = 10,
    box: BoxText = None,
) -> JsonNeighbors:
    """Return the nearest database photos, by descriptors alone: nothing is verified."""
    upload = await _read_one(request, service, box)
    asked = service.ask(lambda recognizer: recognizer.neighbors(upload.photo, k), upload.pixels)
    found = await while_connected(request, asked)
    return JsonNeighbors.model_validate({"neighbors": [asdict(match) for match in found]})


@questions.post("/compare", openapi_extra=PHOTOS)
async def compare(
    request: Request,
    service: Asked,
    image_id: Annotated[str, Query(description="Of the database photo.")],
    box: BoxText = None,
) -> JsonComparison:
    """Say where a photo and a database photo show the same: the lines between the two."""
    upload = await _read_one(request, service, box)
    asked = service.ask(
        lambda recognizer: recognizer.compare(upload.photo, image_id), upload.pixels
    )
    found = await while_connected(request, asked)
    if found is None:
        return JsonComparison(
            compared=False, verified=False, points=[], stored_points=[], stored_size=None
        )
    return JsonComparison(
        compared=True,
        verified=found.verified,
        points=[(round(x, 1), round(y, 1)) for x, y in found.points.tolist()],
        stored_points=[(round(x, 1), round(y, 1)) for x, y in found.stored_points.tolist()],
        stored_size=found.stored_size,
    )


@questions.get("/photos/{image_id:path}", response_class=Response)
async def photo(
    image_id: str,
    service: Asked,
    size: Annotated[Literal["small", "large"], Query(description="360 or 1,280 pixels.")] = "small",
) -> Response:
    """Return a database photo as a JPEG, encoded anew, so without metadata."""
    data = await service.read_photo(image_id, size)
    return Response(
        data, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=300"}
    )


@questions.get("/landmarks")
async def landmarks(
    service: Asked,
    search: Annotated[str, Query(max_length=200, description="Part of a name, or a label.")] = "",
    offset: Annotated[int, Query(ge=0, le=LARGEST)] = 0,
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 100,
) -> JsonLandmarks:
    """List what the database has photos of, by label."""
    found = await service.list_landmarks()
    if wanted := search.strip().casefold():
        found = [
            each
            for each in found
            if wanted in (each.name or "").casefold() or wanted == str(each.label)
        ]
    listed = [asdict(each) for each in found[offset : offset + limit]]
    return JsonLandmarks.model_validate({"total": len(found), "landmarks": listed})


@changes.post("/landmarks", openapi_extra=ADDED)
async def add(request: Request, service: Asked) -> JsonAddition:
    """Add photos of one landmark, which is new or there; the next question knows them."""
    body = await read_body(request, service.max_pixels, MOST_ADDED)
    label, name = _read_landmark(body)
    photos = [upload.photo for upload in body.uploads]
    added = await service.change(lambda recognizer: recognizer.add(photos, label, name))
    listed = [
        {"label": landmark.label, "name": landmark.name, "new": landmark.new, "image_ids": ids}
        for landmark, ids in added.added.items()
    ]
    known = [known.image_id for known in added.known]
    errors = [failure.message for failure in added.failures]
    return JsonAddition.model_validate({"added": listed, "known": known, "errors": errors})


@changes.delete("/landmarks/{label}")
async def remove_landmark(label: Label, service: Asked) -> JsonRemoval:
    """Remove all photos of a landmark from the database."""
    return await _remove(service, lambda recognizer: recognizer.remove(label=label))


@changes.delete("/photos/{image_id:path}")
async def remove_photo(image_id: str, service: Asked) -> JsonRemoval:
    """Remove a photo from the database."""
    return await _remove(service, lambda recognizer: recognizer.remove(images=image_id))


async def _remove(service: Service, remove: Callable[[Recognizer], "Removal"]) -> JsonRemoval:
    removed = await service.change(remove)
    return JsonRemoval(removed=removed.counts, left=removed.left)


async def _read_one(request: Request, service: Service, box: str | None) -> Upload:
    (upload,) = (await read_body(request, service.max_pixels, 1, parse_box(box))).uploads
    return upload


def _read_landmark(body: Body) -> tuple[int | None, str | None]:
    """Return label and name of a form. Raises Refusal."""
    name = printable(body.fields.get("name", "")).strip()
    text = body.fields.get("label", "").strip()
    if text and not (text.isascii() and text.isdecimal() and int(text) <= LARGEST):
        raise Refusal(422, "label is no whole number from 0 to 2^53")
    if len(name) > LONGEST_TITLE or (name and not any(category(c)[0] in "LNPS" for c in name)):
        raise Refusal(422, f"name has over {LONGEST_TITLE} characters, or none that can be seen")
    if not name and not text:
        raise Refusal(422, "say what the photos show: name or label, a field of the form")
    return int(text) if text else None, name or None

"""The application: routes, page, errors as JSON, and the guard around all of it."""

import importlib.metadata
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp

from embed.errors import InputError
from embed.printable import printable
from embed.validation import explain

from .api import Asked, changes, may_ask, questions
from .guard import Guard
from .json_models import JsonHealth
from .page import PageFiles, page
from .refusal import Refusal
from .service import Service, refuse

logger = logging.getLogger(__name__)

VERSION = importlib.metadata.version("cairn")
PATHS = "GET /openapi.json says what there is"
OURS = "this is a fault of Cairn, not of what you sent; the server's log has the traceback"


def make_app(service: Service) -> ASGIApp:
    """Return the application of a server; its end stops the service."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.stop()

    app = FastAPI(
        title="Cairn",
        version=VERSION,
        summary="Which of these known things is in this photo, how sure are we, or none of them?",
        docs_url=None,  # these pages load from other sites
        redoc_url=None,
        redirect_slashes=False,  # they would lead to where Host says
        lifespan=lifespan,
    )
    app.state.service = service
    app.include_router(questions)
    app.include_router(changes)
    app.include_router(page)
    app.add_api_route("/v1/health", _health, methods=["GET"])
    app.add_api_route("/v1/health", _health, methods=["HEAD"], include_in_schema=False)
    app.add_api_route("/metrics", _metrics, methods=["GET"], dependencies=[Depends(may_ask)])
    app.mount("/static", PageFiles(), name="static")
    app.add_exception_handler(HTTPException, _tell)
    app.add_exception_handler(InputError, _tell_input)
    app.add_exception_handler(RequestValidationError, _tell_values)
    app.add_exception_handler(ClientDisconnect, _tell_nobody)
    app.add_exception_handler(Exception, _tell_fault)
    options = service.options
    if options.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=options.origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
        )
    return Guard(app, options, service.metrics.observe_request)


async def _health() -> JsonHealth:
    """Say that the server answers. Needs no token."""
    return JsonHealth(status="ok", version=VERSION)


async def _metrics(service: Asked) -> Response:
    """Return counters as Prometheus reads them."""
    return Response(service.metrics.write(), media_type=CONTENT_TYPE_LATEST)


def _tell(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers, message = dict(error.headers or {}), error.detail
    if not isinstance(error, Refusal):  # of the framework, in a word or two
        asked = f"{request.method} {printable(request.url.path)[:200]}"
        message = f"{message.lower()}: {asked}; {PATHS}"
    return JSONResponse({"error": message}, error.status_code, headers)


def _tell_input(request: Request, error: Exception) -> Response:
    """Tell what whoever asks can mend; the log has the rest."""
    assert isinstance(error, InputError)
    return _tell(request, refuse(error))


def _tell_values(request: Request, error: Exception) -> Response:
    """Name each value of a query that is wrong."""
    assert isinstance(error, RequestValidationError)
    found = (f"{'.'.join(map(str, each['loc'][1:]))}: {explain(each)}" for each in error.errors())
    return JSONResponse({"error": printable("; ".join(found))[:1000]}, 422)


def _tell_nobody(request: Request, error: Exception) -> Response:
    return Response(status_code=400)  # the client is gone


def _tell_fault(request: Request, error: Exception) -> Response:
    # uvicorn closes the connection: whoever is not told may send the next request into it
    return JSONResponse({"error": OURS}, 500, {"Connection": "close"})

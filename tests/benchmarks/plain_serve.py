"""A server as an afternoon makes it: FastAPI around a recogniser, one photo a request.

What bench_serve compares with: the same model, no batches, no limits.
"""

import socket
import sys

import uvicorn
from fastapi import FastAPI, Request

from pipelines.recognizer import Recognizer

PORT_LINE = "serving "  # begins the line that says where a server is


def make_app(recognizer: Recognizer) -> FastAPI:
    """Return an application that answers photos one by one."""
    app = FastAPI()

    def recognize(data: bytes) -> dict[str, object]:
        return {"answers": [recognizer.recognize(data).to_json()]}

    @app.post("/v1/recognize")
    async def ask(request: Request) -> dict[str, object]:
        return recognize(await request.body())

    return app


if __name__ == "__main__":
    settings = uvicorn.Config(make_app(Recognizer.load(sys.argv[1])), log_level="warning")
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listening:
        print(f"{PORT_LINE}http://127.0.0.1:{listening.getsockname()[1]}/", flush=True)
        uvicorn.Server(settings).run(sockets=[listening])

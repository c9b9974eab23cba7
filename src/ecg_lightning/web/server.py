"""What the page may ask for, and the server that answers.

======  ==========================================  ============================================================
GET     ``/api/session``                            the recordings by number, the model, where corrections are saved
PUT     ``/api/uploads/NAME``                       a file, as the body; answers as ``session``
GET     ``/api/recordings/N``                       `Viewed.state`, to be asked again until all is there
GET     ``/api/recordings/N/tiles/LEVEL/INDEX``     float32 ``[leads, blocks, ends]``, see `Signals.tile`; the header
                                                    ``x-whole`` is 0 if a part of it is not read yet
GET     ``/api/recordings/N/beats``                 `Viewed.beats_columns`
GET     ``/api/recordings/N/references/ANNOTATOR``  `Viewed.reference`
POST    ``/api/recordings/N/events``                `Viewed.events` with these corrections
POST    ``/api/recordings/N/overlay/CLASS``         `Viewed.overlay` with these corrections
PUT     ``/api/recordings/N/corrections``           writes them; answers with the files
GET     ``/recordings/N/report``, ``/report``       the page of the recording, and that of the model's run
======  ==========================================  ============================================================

An error is ``{"error": SENTENCE}`` with a status of 4xx. Arrays in JSON are as `packed` makes them.
"""

import asyncio
import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from pydantic import Field
from starlette.exceptions import HTTPException

from ecg_lightning.core.atomic import atomic_write
from ecg_lightning.core.errors import ConfigError, EcgLightningError, sentence_of
from ecg_lightning.data.readers import FORMATS
from ecg_lightning.web.corrections import Corrections, Save
from ecg_lightning.web.guard import REPORT_POLICY, App, Guard
from ecg_lightning.web.recordings import MOST_OVERLAID, Session

STATIC = Path(__file__).parent / "static"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
PORT = 8421
LARGEST_UPLOAD = 4 * 2**30  # bytes
RECORDINGS = {suffix for own in FORMATS.values() for suffix in own} - {".dat"}
SUFFIXES = {*RECORDINGS, ".dat", ".atr", ".qrs", ".ecg", ".ecgl"}  # further files are of a recording's


def make_app(session: Session, uploads: Path) -> FastAPI:
    """The answers to all requests; `uploads` is a folder for files that the page brings."""
    app = FastAPI(openapi_url=None)  # whose pages load from elsewhere

    @app.exception_handler(EcgLightningError)
    @app.exception_handler(RequestValidationError)
    @app.exception_handler(HTTPException)
    @app.exception_handler(Exception)
    def failed(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": _sentence(error)}, _status(error))

    @app.get("/api/session")
    def state() -> dict[str, Any]:
        recordings = [{"number": number, "name": name} for number, name in enumerate(session.recordings)]
        return {
            "recordings": recordings,
            "model": session.model,
            "report": session.report is not None,
            "output": str(session.output),
            "annotator": session.annotator,
            "suffixes": sorted(SUFFIXES),
            "companions": sorted(SUFFIXES - RECORDINGS),
            "largest_upload": LARGEST_UPLOAD,
        }

    @app.put("/api/uploads/{name}")
    async def upload(name: str, request: Request) -> dict[str, Any]:
        target, written = uploads / _file_name(name), 0
        with atomic_write(target) as partial, partial.open("wb") as file:
            async for part in request.stream():
                written += len(part)
                if written > LARGEST_UPLOAD:
                    raise ConfigError(f"{name} is larger than {LARGEST_UPLOAD:,} bytes; give its path to the viewer")
                await asyncio.to_thread(file.write, part)
        if target.suffix.lower() in RECORDINGS:
            session.add({f"uploaded/{target.stem}": target})
        return state()

    @app.get("/api/recordings/{number}")
    def recording(number: int) -> dict[str, Any]:
        return session.viewed(number).state()

    @app.get("/api/recordings/{number}/tiles/{level}/{index}")
    def tile(number: int, level: int, index: int) -> Response:
        try:
            blocks, is_whole = session.viewed(number).signals.tile(level, index)
        except IndexError as error:
            raise HTTPException(404, str(error)) from error
        headers = {"x-whole": str(int(is_whole)), "x-shape": ",".join(map(str, blocks.shape))}
        return Response(blocks.astype("<f4").tobytes(), media_type="application/octet-stream", headers=headers)

    @app.get("/api/recordings/{number}/beats")
    def beats(number: int) -> dict[str, Any]:
        return session.viewed(number).beats_columns()

    @app.get("/api/recordings/{number}/references/{annotator}")
    def reference(number: int, annotator: str) -> dict[str, Any]:
        return session.viewed(number).reference(annotator)

    @app.post("/api/recordings/{number}/events")
    def events(number: int, changes: Corrections) -> dict[str, Any]:
        return session.viewed(number).events(changes)

    @app.post("/api/recordings/{number}/overlay/{name}")
    def overlay(
        number: int, name: str, changes: Corrections, most: Annotated[int, Field(ge=1, le=MOST_OVERLAID)] = 150
    ) -> dict[str, Any]:
        return session.viewed(number).overlay(name, changes, most)

    @app.put("/api/recordings/{number}/corrections")
    def save(number: int, changes: Save) -> dict[str, Any]:
        return {"files": [str(path) for path in session.viewed(number).save(changes)]}

    @app.get("/recordings/{number}/report")
    def page(number: int) -> HTMLResponse:
        return HTMLResponse(session.viewed(number).page(), headers={"content-security-policy": REPORT_POLICY})

    @app.get("/report")
    def report() -> HTMLResponse:
        if session.report is None:
            raise HTTPException(404, "the model has no report")
        text = session.report.read_text(encoding="utf-8")
        return HTMLResponse(text, headers={"content-security-policy": REPORT_POLICY})

    app.mount("/", StaticFiles(directory=STATIC, html=True))
    return app


def _file_name(name: str) -> str:
    """A plain name of a file that can belong to a recording; ConfigError for anything else."""
    if Path(name).name != name or name.startswith(".") or not name.isprintable() or "\\" in name or len(name) > 200:
        raise ConfigError(f"{name!r} is no name of a file; expected one without folders that does not begin with a dot")
    if Path(name).suffix.lower() not in SUFFIXES:
        raise ConfigError(f"{name} is no recording; expected a file that ends in {', '.join(sorted(SUFFIXES))}")
    return name


def _sentence(error: Exception) -> str:
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error.detail) if isinstance(error, HTTPException) else sentence_of(error)


def _status(error: Exception) -> int:
    if isinstance(error, HTTPException):
        return error.status_code
    return 422 if isinstance(error, EcgLightningError | RequestValidationError) else 500


def serve(
    session: Session, uploads: Path, *, host: str, port: int | None, opened: Callable[[str], None],
    token: str | None = None,
) -> None:  # fmt: skip
    """Answer at an address until Ctrl-C.

    Args:
        session: what is shown.
        uploads: a folder for files that the page brings.
        host: address to listen on; ``127.0.0.1`` is this machine alone.
        port: None for `PORT`, or any that is free where that is taken; 0 for any. A browser keeps drafts by port.
        opened: is called with the address, token included, once the server listens.
        token: that requests need; None makes one.

    Raises:
        ConfigError: the address or port cannot be had.
    """
    import uvicorn

    listening = _listen(host, PORT if port is None else port, or_any=port is None)
    port, token = listening.getsockname()[1], token or secrets.token_urlsafe(24)
    names = (*LOOPBACK[:2], "[::1]") if host in LOOPBACK else None
    hosts = None if names is None else [f"{name}:{port}" for name in names]
    app: App = Guard(make_app(session, uploads), token=token, hosts=hosts, cookie=f"ecg_lightning_{port}")
    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", ws="none")
    server = uvicorn.Server(config)
    shown = f"[{host}]" if ":" in host else host
    opened(f"http://{shown}:{port}/?token={token}")
    try:
        server.run(sockets=[listening])
    finally:
        session.close()


def _listen(host: str, port: int, *, or_any: bool) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        if or_any:
            return _listen(host, 0, or_any=False)
        raise ConfigError(f"cannot listen on {host}:{port} ({error}); choose another --host or --port") from error

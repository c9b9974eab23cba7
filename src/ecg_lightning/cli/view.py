"""``ecg-lightning view``: the viewer in the browser."""

import webbrowser
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import typer

from ecg_lightning.cli.annotate import Request
from ecg_lightning.core.atomic import temporary_folder
from ecg_lightning.core.errors import ConfigError
from ecg_lightning.core.paths import home_expanded
from ecg_lightning.core.startup import quick_imports
from ecg_lightning.data.find import find
from ecg_lightning.data.rpeaks import check_detector
from ecg_lightning.pipeline.annotate import annotate
from ecg_lightning.pipeline.predictor import load_predictor
from ecg_lightning.report.page import REPORT


def view(
    recordings: Sequence[Path], *, model: str, output: Path, reference: str | None, annotator: str, host: str,
    port: int | None, browser: bool, **how: Any,
) -> None:  # fmt: skip
    """Serve the page until Ctrl-C; `how` are further arguments of `annotate`."""
    try:
        with quick_imports():
            from ecg_lightning.web.recordings import Session
            from ecg_lightning.web.server import LOOPBACK, serve
    except ImportError as error:
        raise ConfigError(f"view needs {error.name}: pip install 'ecg-lightning[web]'") from error
    given = {key: value for key, value in how.items() if value is not None}
    request = Request(model=model, output=output, annotator=annotator, how=given)  # with its checks
    found = find(recordings) if recordings else {}
    predictor = load_predictor(model)
    _ = predictor.input.how, predictor.input.wanted_context  # of a model whose beats are no part of a recording
    check_detector(given["detector"])
    page = home_expanded(model) / REPORT
    session = Session(
        found, partial(annotate, model=predictor, **given), class_map=predictor.class_map, model=model,
        settings=request.settings, reference=reference, output=output, annotator=annotator,
        report=page if page.is_file() else None,
    )  # fmt: skip

    def opened(address: str) -> None:
        typer.echo(f"Viewer at {address}\nCtrl-C ends it.")
        if host not in LOOPBACK:
            typer.echo("Other machines can open it with this address; what they send and see is not encrypted.")
        if browser:
            webbrowser.open(address)

    with temporary_folder() as uploads:
        try:
            serve(session, uploads, host=host, port=port, opened=opened)
        except KeyboardInterrupt:
            typer.echo("Viewer ended.")

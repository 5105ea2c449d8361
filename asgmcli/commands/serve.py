"""`asgm serve`: a local page that asks a trained network about clips, and a JSON endpoint."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import click

from asgmcli.errors import UsageError
from asgmcli.loading import require
from asgmcli.options import answers_option, json_option, weights_option
from asgmcli.ranks.device import device_option
from asgmcli.signals import interruptible

NEEDED = ("starlette", "uvicorn")
BACKLOG = 2048  # connections that wait, uvicorn's own number


@click.command("serve", short_help="serve a local page that answers clips dropped on it")
@click.argument("target", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at; 0.0.0.0 lets others in.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=8000, show_default=True, help="Port; 0 takes a free one."
)
@click.option(
    "--most-mb", type=click.FloatRange(0.001, 100_000), default=200.0, show_default=True, help="Largest clip, MB."
)
@click.option(
    "--most-seconds", type=click.FloatRange(0.1, 21_600), default=120.0, show_default=True, help="Longest clip, s."
)
@click.option(
    "--limit", type=click.FloatRange(0.1, 3600), default=60.0, show_default=True, help="Seconds for an answer."
)
@answers_option
@weights_option
@device_option
@json_option
@interruptible("Stopped.")
def command(
    target: Path,
    host: str,
    port: int,
    most_mb: float,
    most_seconds: float,
    limit: float,
    changes: tuple[str, ...],
    weights: tuple[tuple[str, Path], ...],
    device: str,
    as_json: bool,
) -> None:
    """Serve a page on this machine: drop a clip on it and see the answer of RUN play over it.

    Programs send a clip as the body of a POST to /api/predict?name=NAME and get JSON: columns and rows as of
    `asgm predict`, and the whole answer. Clips are checked as by `asgm prepare --verify`, in a process of their own: a
    file that hangs or ends it harms no other. Nothing is kept. Needs pip install "asgm[serve]".

    \b
    asgm serve runs/demo/asgm_former/seed0
    curl --data-binary @clip.mp4 "http://127.0.0.1:8000/api/predict?name=clip.mp4"
    """
    require(NEEDED, "asgm serve", "serve")
    import uvicorn

    from asgmcli.console import make_console
    from asgmcli.runs.bulk import Asked
    from asgmcli.serve.app import LOCAL, Limits, build_app
    from asgmcli.serve.worker import Answerer

    console = make_console()
    everywhere = host in ("0.0.0.0", "::")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(BACKLOG)  # before the address is told: who asks at once waits, and is not refused
        except OSError as error:
            raise UsageError(f"{host}:{port}: {error.strerror or error}. Name another --port, or 0.") from None
        answerer = Answerer(Asked(target, device, changes, weights), limit, most_seconds)
        try:
            about = answerer.start()
            hosts = ("*",) if everywhere else (*LOCAL, f"[{host}]" if ":" in host else host)
            app = build_app(answerer, about, Limits(round(most_mb * 1e6)), hosts)
            address = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}/"
            console.print(f"{about['network']}: {address}   (Ctrl-C ends it)")
            if as_json:
                click.echo(json.dumps({"address": address, "process": os.getpid(), **about}))
            if everywhere:
                console.print("Warning: whoever reaches this machine can ask; there is no password.")
            settings = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=5)
            uvicorn.Server(settings).run(sockets=[listener])
        finally:
            answerer.stop()

"""`openmimo serve`: binds the port, says where it listens, runs until it is stopped."""

from __future__ import annotations

import socket
from pathlib import Path

from rich.console import Console

from openmimo.errors import UserError
from openmimo.infer.load import load_engine


def serve(checkpoint: Path, host: str, port: int, name: str | None, slots: int, mtp: int, console: Console) -> None:
    """Serves a checkpoint folder under `name` (default: the folder's own). port 0: any free one."""
    try:
        import uvicorn

        from openmimo.infer.server import app_of
    except ImportError as error:
        raise UserError(f"serve needs {error.name}; run `pip install 'openmimo[serve]'`") from None
    name = name or checkpoint.resolve().name
    engine, tokenizer = load_engine(checkpoint, slots, mtp)
    if tokenizer is None:
        raise UserError(f"{checkpoint}: no tokenizer.json there; a server needs the checkpoint's tokenizer")
    try:
        listener = socket.create_server((host, port))
    except (OSError, OverflowError) as error:
        raise UserError(f"serve: cannot listen on {host}:{port} ({error}); give another --host or --port") from None
    where = f"http://{host}:{listener.getsockname()[1]}"
    console.print(f"serving {name} on {where}/v1 (also /health, /metrics); Ctrl-C stops it", highlight=False)
    config = uvicorn.Config(app_of(engine, tokenizer, name), log_level="warning", timeout_graceful_shutdown=5)
    uvicorn.Server(config).run(sockets=[listener])

"""Run the fake: `python -m local.fake_stripe --port 12111`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import signal
import sys

from local.fake_stripe.api import Api
from local.fake_stripe.control import PREFIX, Control
from local.fake_stripe.http_server import Connection, Reply, Request
from local.ports import LOOPBACK


async def serve(port: int, seed: int) -> None:
    """Answer on loopback until the process is asked to end."""
    api = Api(seed)
    control = Control(api)
    open_connections: set[Connection] = set()

    def handle(request: Request, reply: Reply) -> None:
        (control if request.path.startswith(PREFIX) else api).handle(request, reply)

    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    server = await loop.create_server(lambda: Connection(handle, open_connections), LOOPBACK, port, backlog=512)
    # Versions are kept for ever, so the collector would only walk an ever larger heap.
    gc.freeze()
    gc.set_threshold(50_000, 50, 50)
    print(f"fake Stripe on http://{LOOPBACK}:{port}", flush=True)
    await stopped.wait()
    server.close()
    for connection in list(open_connections):
        connection.drop()


def main() -> int:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m local.fake_stripe", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0, help="of ids, latency and faults")
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(options.port, options.seed))
    return 0


if __name__ == "__main__":
    sys.exit(main())

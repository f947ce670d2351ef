"""Runs localstripe bound to loopback and without its file; executed by the Python of its own environment.

localstripe listens on every interface and writes all its objects to one fixed file in the temporary directory on every
change. Both are settled here, before its modules run.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import sys

LOOPBACK = "127.0.0.1"


def main() -> int:
    """Serve on the port given as the only argument, until terminated."""
    name = "localstripe.resources"
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        print("localstripe is not installed in this environment")
        return 1
    module = importlib.util.module_from_spec(spec)
    # A global of the module hides the built-in: its dump lands in memory, and the path is never opened.
    module.__dict__["open"] = lambda *_, **__: io.BytesIO()
    sys.modules[name] = module
    spec.loader.exec_module(module)
    server = importlib.import_module("localstripe.server")
    web = importlib.import_module("aiohttp.web")
    web.run_app(server.app, host=LOOPBACK, port=int(sys.argv[1]), access_log=None)
    return 0


if __name__ == "__main__":
    sys.exit(main())

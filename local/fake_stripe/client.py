"""Starts a fake Stripe and steers it."""

from __future__ import annotations

import http.client
import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from local.ports import LOOPBACK, accepts
from local.process import LocalServerError, ServerProcess
from local.server import Server

ROOT = Path(__file__).resolve().parents[2]


class FakeStripeError(Exception):
    """A control request was refused; the message is the fake's own."""


class FakeStripe(Server):
    """A fake Stripe in its own process, running as soon as it is constructed; calls are thread-safe."""

    def __init__(self, *, seed: int = 0, port: int | None = None) -> None:
        def start(chosen: int) -> ServerProcess:
            # The child runs in a directory of its own, from which `-m local...` would not be found.
            program = "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); runpy.run_module('local.fake_stripe', run_name='__main__', alter_sys=True)"  # noqa: E501 -- one program
            command: list[str | Path] = [
                sys.executable,
                "-c",
                program,
                ROOT,
                "--port",
                str(chosen),
                "--seed",
                str(seed),
            ]
            return ServerProcess("fake-stripe", command, ready=lambda: accepts(chosen), start_seconds=20)

        super().__init__(start, port)

    @property
    def url(self) -> str:
        """What `base_addresses={"api": ...}` and STRIPE_CACHE_API_BASE take."""
        return f"http://{self.host}:{self.port}"

    def seed(
        self, customers: int = 100, products: int = 6, *, livemode: bool = False, account: str | None = None
    ) -> dict[str, list[str]]:
        """Create a data set without events and return its ids: products, prices, customers, subscriptions, invoices."""
        wanted = {"customers": customers, "products": products, "livemode": livemode, "account": account}
        ids: dict[str, list[str]] = self.control("seed", wanted)
        return ids

    def configure(self, **settings: Any) -> None:
        """Replace settings: latency, limits, faults, webhooks (endpoints), delivery, accounts, permissions, revoked.

        `connected` are accounts whose objects a platform reaches below /v1/accounts.
        """
        self.control("configure", settings)

    def counters(self) -> dict[str, Any]:
        """Return calls per endpoint and status, refusals, concurrency and webhook totals since the last reset."""
        counts: dict[str, Any] = self.control("counters")
        return counts

    def reset(self, *, state: bool = False) -> None:
        """Set the counters to zero; with `state`, forget all objects, faults, latency and webhooks too."""
        self.control("reset", {"state": state})

    def truth(self, path: str, *, livemode: bool = False, account: str | None = None) -> dict[str, Any]:
        """Return the body that GET path would answer now; an error of Stripe's is a body with `error`."""
        query = {"path": path, "livemode": str(livemode).lower(), **({"account": account} if account else {})}
        status, answer = self._request("GET", f"/_fake/truth?{urlencode(query)}")
        decoded: dict[str, Any] = json.loads(answer)
        if status == 400 and decoded.get("error", {}).get("type") == "control":  # noqa: PLR2004 -- HTTP
            raise FakeStripeError(decoded["error"]["message"])
        return decoded

    def history(self, path_or_id: str, **options: Any) -> list[dict[str, Any]]:
        """Return the answers a path (or an object's own path) had: since, until, change, status, digest.

        Options: since and until (wall-clock seconds), bodies, livemode, account.
        """
        key = "path" if path_or_id.startswith("/") else "id"
        rows: list[dict[str, Any]] = self.control("history", {key: path_or_id, **options})
        return rows

    def histories(self, paths: list[str], **options: Any) -> dict[str, list[dict[str, Any]]]:
        """Return the history of many paths in one request."""
        found: dict[str, list[dict[str, Any]]] = self.control("history", {"paths": paths, **options})
        return found

    def deliveries(self) -> list[dict[str, Any]]:
        """Return every webhook delivery: event, object_id, change, attempts, acked_at."""
        found: list[dict[str, Any]] = self.control("deliveries")["deliveries"]
        return found

    def requests(self) -> list[dict[str, Any]]:
        """Return the last thousand API requests since the reset: method, path, query, headers (without the key)."""
        found: list[dict[str, Any]] = self.control("requests")
        return found

    def mutate(self, path: str, method: str = "POST", /, **form: Any) -> dict[str, Any]:
        """Change an object as another client would, at once, and return it; `livemode_`, `account_` name the scope."""
        scope = {"livemode": form.pop("livemode_", False), "account": form.pop("account_", None)}
        body: dict[str, Any] = self.control("change", {"method": method, "path": path, "params": form, **scope})["body"]
        return body

    def control(self, name: str, params: dict[str, Any] | None = None) -> Any:
        """Send a control request and return its JSON; raises FakeStripeError when it is refused."""
        status, answer = self._request("POST", f"/_fake/{name}", json.dumps(params or {}))
        decoded = json.loads(answer)
        if status != 200:  # noqa: PLR2004 -- HTTP
            raise FakeStripeError(decoded["error"]["message"])
        return decoded

    def _request(self, method: str, target: str, body: str | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=60)
        try:
            connection.request(method, target, body)
            response = connection.getresponse()
            return response.status, response.read()
        except OSError as error:
            raise LocalServerError(f"the fake Stripe does not answer ({error}):\n{self.process.log()}") from error
        finally:
            connection.close()

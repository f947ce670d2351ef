"""Delivers events as signed webhooks: late, again, out of order, or not at all, as configured."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import random
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.fake_stripe.store import Body, Scope

PLATFORM = "acct_1Fake00000000000"


@dataclass
class Endpoint:
    """Where events go. `secrets` are all in force at once, as during a roll: each makes one `v1` signature."""

    url: str
    secrets: list[str] = field(default_factory=lambda: ["whsec_test"])
    thin: bool = False
    connect: bool = False
    types: list[str] = field(default_factory=lambda: ["*"])
    livemode: bool | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def wants(self, scope: Scope, event_type: str) -> bool:
        """Tell whether this endpoint is subscribed to such an event of this account and mode."""
        if self.connect != (scope.account != PLATFORM) or self.livemode not in {None, scope.livemode}:
            return False
        return "*" in self.types or event_type in self.types


@dataclass
class DeliverySettings:
    """How deliveries behave; milliseconds and probabilities."""

    delay_ms: tuple[float, float] = (0.0, 0.0)
    lose: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    reorder_ms: float = 1000.0
    retries: int = 10
    backoff_ms: float = 200.0
    timeout_s: float = 10.0


@dataclass(frozen=True)
class About:
    """What an event is about: the object, the change, and whom to tell of the first 2xx."""

    object_id: str
    change: int
    acknowledged: Callable[[], None]


@dataclass
class Delivery:
    """One event on its way to one endpoint; times are wall-clock seconds."""

    event: str
    type: str
    object_id: str
    url: str
    change: int
    created_at: float
    attempts: list[dict[str, Any]] = field(default_factory=list)
    acked_at: float | None = None
    lost: bool = False
    given_up: bool = False


def sign(payload: bytes, secrets: list[str], now: int) -> str:
    """Return the value of Stripe-Signature."""
    signed = b"%d.%s" % (now, payload)
    digests = (hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets)
    return ",".join([f"t={now}", *(f"v1={digest}" for digest in digests)])


class Courier:
    """Sends deliveries from the event loop it is used in."""

    def __init__(self, seed: int = 0) -> None:
        self.endpoints: list[Endpoint] = []
        self.settings = DeliverySettings()
        self.deliveries: list[Delivery] = []
        self._random = random.Random(seed)
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, endpoint: Endpoint, event: Body, about: About) -> None:
        """Start delivering an event, perhaps twice, perhaps never."""
        delivery = Delivery(event["id"], event["type"], about.object_id, endpoint.url, about.change, time.time())
        self.deliveries.append(delivery)
        settings = self.settings
        if self._random.random() < settings.lose:
            delivery.lost = True
            return
        delay = self._random.uniform(*settings.delay_ms)
        if self._random.random() < settings.reorder:
            delay += self._random.uniform(0, settings.reorder_ms)
        self._start(self._deliver(endpoint, event, delivery, delay / 1000, about.acknowledged))
        if self._random.random() < settings.duplicate:
            again = delay + self._random.uniform(0, settings.reorder_ms)
            self._start(self._deliver(endpoint, event, delivery, again / 1000, about.acknowledged))

    def cancel(self) -> None:
        """Forget what is under way."""
        for task in self._tasks:
            task.cancel()

    def pending(self) -> int:
        """Return how many deliveries are under way."""
        return len(self._tasks)

    def as_json(self) -> list[dict[str, Any]]:
        """Return every delivery since the last reset."""
        return [asdict(delivery) for delivery in self.deliveries]

    def _start(self, delivering: Any) -> None:
        task = asyncio.get_running_loop().create_task(delivering)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(
        self, endpoint: Endpoint, event: Body, delivery: Delivery, delay: float, acknowledged: Callable[[], None]
    ) -> None:
        payload = json.dumps(event, indent=2).encode()
        await asyncio.sleep(delay)
        for attempt in range(self.settings.retries + 1):
            if attempt:
                await asyncio.sleep(self.settings.backoff_ms / 1000 * min(2 ** (attempt - 1), 64))
            sent = time.time()
            # The signature carries the time of the attempt, not of the event.
            headers = {"Stripe-Signature": sign(payload, endpoint.secrets, int(sent)), **endpoint.headers}
            status = 0
            with contextlib.suppress(OSError, TimeoutError, ValueError, EOFError):
                async with asyncio.timeout(self.settings.timeout_s):
                    status = await _post(endpoint.url, payload, headers)
            delivery.attempts.append({"at": sent, "status": status, "took": time.time() - sent})
            if 200 <= status < 300:  # noqa: PLR2004 -- the class of success
                if delivery.acked_at is None:
                    delivery.acked_at = time.time()
                    acknowledged()
                return
        delivery.given_up = delivery.acked_at is None


async def _post(url: str, payload: bytes, headers: dict[str, str]) -> int:
    """POST over one connection and return the status; redirects count as failures, as with Stripe."""
    target = urlsplit(url)
    reader, writer = await asyncio.open_connection(target.hostname, target.port or 80)
    try:
        path = (target.path or "/") + (f"?{target.query}" if target.query else "")
        lines = [f"POST {path} HTTP/1.1", f"Host: {target.netloc}", "Connection: close"]
        lines += ["Content-Type: application/json; charset=utf-8", f"Content-Length: {len(payload)}"]
        lines += ["User-Agent: Stripe/1.0 (+https://stripe.com/docs/webhooks)", "Accept: */*; q=0.5, application/xml"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + payload)
        await writer.drain()
        status_line = await reader.readline()
        status = int(status_line.split()[1]) if status_line.startswith(b"HTTP/") else 0
        # The receiver may still be writing: leaving early would break its connection under it.
        await reader.read()
        return status
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

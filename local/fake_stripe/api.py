"""One request from its arrival to its answer: key, limits, faults, latency, idempotency, state, events."""

from __future__ import annotations

import asyncio
import json
import re
import time
import traceback
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from local.fake_stripe import errors, events, forms, reads, shapes, writes
from local.fake_stripe.changes import Write
from local.fake_stripe.counters import Counters
from local.fake_stripe.errors import ApiError
from local.fake_stripe.expand import expand, present
from local.fake_stripe.faults import Fault, Weather
from local.fake_stripe.http_server import Reply, Request, Response
from local.fake_stripe.limits import Limiter
from local.fake_stripe.operations import Match, Router, router
from local.fake_stripe.store import Body, Scope, Space, Store
from local.fake_stripe.webhooks import PLATFORM, About, Courier

if TYPE_CHECKING:
    from collections.abc import Callable

RECENT = 1000
_KEY = re.compile(r"(sk|rk)_(test|live)_\w+")
_RESOURCE = re.compile(r"^/v[12]/([a-z_]+)")
_BELOW_ACCOUNT = re.compile(r"^/v1/accounts/([^/]+)")


@dataclass
class Saved:
    """The answer kept for an idempotency key, and the request it belongs to."""

    fingerprint: tuple[str, str, bytes]
    response: Response


class Api:
    """The fake itself; lives on one event loop and needs no locks."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.router: Router = router()
        self.limiter = Limiter()
        self.counters = Counters()
        self.accounts: dict[str, str] = {}
        self.connected: set[str] = set()
        self.permissions: dict[str, dict[str, str]] = {}
        self.revoked: set[str] = set()
        self.reset()

    def reset(self) -> None:
        """Forget all objects, deliveries, latency and faults; settings of limits and keys stay."""
        self.store = Store(self.seed)
        self.weather = Weather(self.seed)
        self.courier = Courier(self.seed)
        self._saved: dict[tuple[Scope, str], Saved] = {}
        self._requests = 0
        self.recent: deque[dict[str, Any]] = deque(maxlen=RECENT)

    def handle(self, request: Request, reply: Reply) -> None:
        """Answer a request of the API, after its latency."""
        shown = {name: value for name, value in request.headers.items() if name != "authorization"}
        self.recent.append({"method": request.method, "path": request.path, "query": request.query, "headers": shown})
        match = self.router.match(request.method, request.path)
        endpoint = f"{request.method} {match.operation.template if match else request.path}"
        headers = self._headers(request)
        try:
            scope = self._authenticate(request)
        except ApiError as error:
            self.counters.enter()
            self._finish(reply, endpoint, _failed(error, headers))
            return
        reason = self.limiter.refusal(scope, endpoint, self.counters.in_flight, time.monotonic())
        self.counters.enter()
        if reason:
            self.counters.rate_limited[reason] += 1
            self._finish(reply, endpoint, _failed(errors.rate_limited(reason), headers))
            return
        fault = self.weather.strike(request.method, request.path)
        before, after = self.weather.delays()

        def process() -> None:
            if fault:
                self._misbehave(fault, reply, endpoint, headers, lambda: self.process(request, scope, match, headers))
                return
            response = self.process(request, scope, match, headers)
            _later(after, lambda: self._finish(reply, endpoint, response))

        _later(before, process)

    def process(self, request: Request, scope: Scope, match: Match | None, headers: dict[str, str]) -> Response:
        """Run a request against the state as it is now."""
        if match is None:
            return _failed(errors.unknown_url(request.method, request.path), headers)
        try:
            space = self.store.space(self.owner(scope, request.path))
            if request.method != "GET":
                return self._write(request, space, match, headers)
            target = f"{request.path}?{request.query}"
            rendered = space.rendered.get(target)
            if rendered is None:
                body = reads.answer(space.view(), match, request.path, forms.decode(request.query))
                rendered = space.rendered[target] = reads.render(body)
            return Response(200, rendered, headers)
        except ApiError as error:
            return _failed(error, headers)
        except Exception:  # noqa: BLE001 -- a mistake of the fake must be seen as one, not as a hanging client
            traceback.print_exc()
            return _failed(errors.server_error(500), headers)

    def owner(self, scope: Scope, path: str) -> Scope:
        """Return whose the objects at a path are: a connected account's persons and the like are its own."""
        below = _BELOW_ACCOUNT.match(path)
        return Scope(below[1], scope.livemode) if below and below[1] in self.connected else scope

    def connect(self, account: str) -> None:
        """Let there be a connected account, in test mode."""
        self.connected.add(account)
        space = self.store.space(Scope(account, livemode=False))
        if space.get(account) is None:
            space.put(shapes.base(space, "account", {}, account))

    def change(self, space: Space, match: Match, path: str, params: dict[str, Any], **request: str | None) -> Body:
        """Apply a write, store its events, and hand them to the courier; returns the stored body."""
        write = Write(space)
        stored = writes.apply(write, match, path, params)
        change = space.last_change
        for event in events.snapshots(space, write.changes, request.get("id"), request.get("key")):
            self._announce(space, event, change)
        return stored

    def _write(self, request: Request, space: Space, match: Match, headers: dict[str, str]) -> Response:
        key = request.headers.get("idempotency-key")
        fingerprint = (request.method, request.path, request.body)
        if key:
            headers["idempotency-key"] = key
            saved = self._saved.get((space.scope, key))
            if saved and saved.fingerprint != fingerprint:
                raise errors.idempotency_mismatch(key)
            if saved:
                replayed = {"idempotent-replayed": "true", "original-request": saved.response.headers["request-id"]}
                return Response(saved.response.status, saved.response.body, {**headers, **replayed})
        try:
            params, wanted = _parameters(request)
            stored = self.change(space, match, request.path, params, id=headers["request-id"], key=key)
            body = stored if stored.get("deleted") else present(space.view(), stored)
            response = Response(200, reads.render(expand(space.view(), body, wanted)), headers)
        except ApiError as error:
            # Stripe keeps no answer of a request that failed validation: the key may be used again.
            return _failed(error, headers)
        if key:
            self._saved[space.scope, key] = Saved(fingerprint, response)
        return response

    def _announce(self, space: Space, event: Body, change: int) -> None:
        account = {} if space.scope.account == PLATFORM else {"account": space.scope.account}
        twin: Body | None = None
        for endpoint in self.courier.endpoints:
            sent = event
            if endpoint.thin:
                twin = sent = twin or events.thin(space, event)
                sent = {**sent, "context": account.get("account")}
            if endpoint.wants(space.scope, sent["type"]):
                sent = sent if endpoint.thin else {**event, **account}
                space.undelivered[event["id"]] += 1
                about = About(event["data"]["object"].get("id", ""), change, partial(space.acknowledged, event["id"]))
                self.courier.send(endpoint, sent, about)

    def _authenticate(self, request: Request) -> Scope:
        """Return whose objects the caller may see; raises 401 and 403 as Stripe does."""
        key = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
        found = _KEY.fullmatch(key)
        if not found or key in self.revoked:
            raise errors.invalid_key(key)
        if found.group(1) == "rk":
            self._check_permission(key, request)
        account = request.headers.get("stripe-context") or request.headers.get("stripe-account")
        return Scope(account or self.accounts.get(key, PLATFORM), found.group(2) == "live")

    def _check_permission(self, key: str, request: Request) -> None:
        named = _RESOURCE.match(request.path)
        resource = named.group(1) if named else ""
        granted = self.permissions.get(key, {}).get(resource, "none")
        wanted = "read" if request.method == "GET" else "write"
        if granted not in {wanted, "write"}:
            raise errors.forbidden(f"rak_{resource.removesuffix('s')}_{wanted}")

    def _misbehave(
        self, fault: Fault, reply: Reply, endpoint: str, headers: dict[str, str], run: Callable[[], Response]
    ) -> None:
        self.counters.faults[fault.kind] += 1
        if fault.after:
            run()
        if fault.kind == "error":
            self._finish(reply, endpoint, _failed(errors.server_error(fault.status), headers))
        elif fault.kind == "lock_timeout":
            self._finish(reply, endpoint, _failed(errors.lock_timeout(), headers))
        else:
            self.counters.leave(endpoint, 0)
            if fault.kind == "drop":
                reply.drop()

    def _finish(self, reply: Reply, endpoint: str, response: Response) -> None:
        self.counters.leave(endpoint, response.status)
        reply.send(response)

    def _headers(self, request: Request) -> dict[str, str]:
        self._requests += 1
        headers = {
            "server": "nginx",
            "content-type": "application/json",
            "access-control-allow-origin": "*",
            "cache-control": "no-cache, no-store",
            "request-id": f"req_{self._requests:014d}",
            "stripe-version": request.headers.get("stripe-version", events.API_VERSION),
            "vary": "Origin",
            "strict-transport-security": "max-age=63072000; includeSubDomains; preload",
        }
        account = request.headers.get("stripe-account")
        return {**headers, "stripe-account": account} if account else headers


def _parameters(request: Request) -> tuple[dict[str, Any], list[str]]:
    """Return the typed parameters of a write, and what to expand in its answer."""
    if request.headers.get("content-type", "").startswith("application/json"):
        decoded = json.loads(request.body or b"{}")
        params = decoded if isinstance(decoded, dict) else {}
    else:
        params = forms.decode(request.body.decode() if request.body else request.query)
        params = {key: forms.typed(key, value) for key, value in params.items()}
    return params, params.pop("expand", None) or []


def _failed(error: ApiError, headers: dict[str, str]) -> Response:
    body = json.dumps(error.body, indent=2).encode() + b"\n"
    return Response(error.status, body, {**headers, **error.headers})


def _later(seconds: float, action: Callable[[], None]) -> None:
    if seconds > 0:
        asyncio.get_running_loop().call_later(seconds, action)
    else:
        action()

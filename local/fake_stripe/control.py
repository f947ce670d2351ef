"""The control interface under /_fake/: seed, configure, look, change; never delayed, limited or counted."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

from local.fake_stripe import forms, seed
from local.fake_stripe.errors import ApiError, unknown_url
from local.fake_stripe.faults import LatencySettings, faults_from
from local.fake_stripe.history import Interval, history, target_of
from local.fake_stripe.http_server import Reply, Request, Response
from local.fake_stripe.limits import LimitSettings
from local.fake_stripe.store import Scope, Space
from local.fake_stripe.webhooks import PLATFORM, DeliverySettings, Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.fake_stripe.api import Api

PREFIX = "/_fake/"
JSON = {"content-type": "application/json"}


class Control:
    """Turns control requests into calls on the fake."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._actions: dict[str, Callable[[dict[str, Any]], Any]] = {
            "ping": lambda _: {"pid": os.getpid(), "time": time.time()},
            "seed": self._seed,
            "configure": self._configure,
            "counters": lambda _: self._counters(),
            "deliveries": lambda _: {"pending": api.courier.pending(), "deliveries": api.courier.as_json()},
            "requests": lambda _: list(api.recent),
            "reset": self._reset,
            "change": self._change,
            "history": self._history,
        }

    def handle(self, request: Request, reply: Reply) -> None:
        """Answer at once; a mistake in the request is a 400 with a sentence."""
        name = request.path.removeprefix(PREFIX)
        try:
            params = forms.decode(request.query)
            if request.body:
                params |= json.loads(request.body)
            if name == "truth":
                reply.send(self._truth(params))
                return
            answer, status = self._actions.get(name, self._unknown)(params), 200
        except ApiError as error:
            answer, status = error.body, error.status
        except (ValueError, TypeError, KeyError) as error:
            answer, status = {"error": {"type": "control", "message": f"{name}: {error!r}"}}, 400
        reply.send(Response(status, json.dumps(answer).encode(), JSON))

    def _unknown(self, _: dict[str, Any]) -> Any:
        raise ValueError(f"no such control: use one of {', '.join(sorted(self._actions))}, truth")

    def _space(self, params: dict[str, Any]) -> Space:
        livemode = params.get("livemode", False) in {True, "true"}
        return self._api.store.space(Scope(params.get("account") or PLATFORM, livemode))

    def _seed(self, params: dict[str, Any]) -> Any:
        counts = {"customers": int(params.get("customers", 100)), "products": int(params.get("products", 6))}
        return seed.plant(self._space(params), seed=int(params.get("seed", self._api.seed)), **counts)

    def _configure(self, params: dict[str, Any]) -> Any:
        api = self._api
        unknown = set(params) - {
            "latency",
            "limits",
            "faults",
            "webhooks",
            "delivery",
            "accounts",
            "connected",
            "permissions",
            "revoked",
        }
        if unknown:
            raise ValueError(f"unknown settings: {', '.join(sorted(unknown))}")
        if "latency" in params:
            api.weather.latency = LatencySettings(**params["latency"])
        if "limits" in params:
            api.limiter.configure(LimitSettings(**params["limits"]))
        if "faults" in params:
            api.weather.faults = faults_from(params["faults"])
        if "webhooks" in params:
            api.courier.endpoints = [Endpoint(**each) for each in params["webhooks"]]
        if "delivery" in params:
            api.courier.settings = DeliverySettings(**params["delivery"])
        api.accounts.update(params.get("accounts", {}))
        for account in params.get("connected", ()):
            api.connect(account)
        api.permissions.update(params.get("permissions", {}))
        api.revoked.update(params.get("revoked", ()))
        return {}

    def _counters(self) -> Any:
        deliveries = self._api.courier.deliveries
        acked = sum(delivery.acked_at is not None for delivery in deliveries)
        webhooks = {"sent": len(deliveries), "acked": acked, "lost": sum(delivery.lost for delivery in deliveries)}
        return {**self._api.counters.as_json(), "webhooks": {**webhooks, "pending": self._api.courier.pending()}}

    def _reset(self, params: dict[str, Any]) -> Any:
        self._api.counters.reset()
        self._api.recent.clear()
        if params.get("state") in {True, "true"}:
            self._api.courier.cancel()
            self._api.reset()
        return {}

    def _truth(self, params: dict[str, Any]) -> Response:
        space = self._space(params)
        path, _, query = params["path"].partition("?")
        match = self._api.router.match("GET", path)
        return self._api.process(Request("GET", path, query, {}, b""), space.scope, match, dict(JSON))

    def _change(self, params: dict[str, Any]) -> Any:
        """Do what another client of the account would do, and say when it took effect."""
        api, space = self._api, self._space(params)
        method, path = params.get("method", "POST"), params["path"]
        match = api.router.match(method, path)
        if match is None or method == "GET":
            raise unknown_url(method, path)
        space = api.store.space(api.owner(space.scope, path))
        body = api.change(space, match, path, params.get("params", {}))
        return {"body": body, "change": space.last_change, "at": time.time()}

    def _history(self, params: dict[str, Any]) -> Any:
        space, router = self._space(params), self._api.router
        during = Interval(float(params.get("since", 0)), float(params.get("until", "inf")))
        bodies = params.get("bodies", False) in {True, "true"}

        def of(target: str) -> list[dict[str, Any]]:
            return history(router, space, target, during, bodies=bodies)

        if "paths" in params:
            return {target: of(target) for target in params["paths"]}
        if "id" in params:
            return of(target_of(router, space, params["id"]))
        return of(params["path"])

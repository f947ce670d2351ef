"""Answers to GET: one object, a list, a search or a singleton; each a pure function of a view and the parameters."""

from __future__ import annotations

import json
import re
from itertools import islice
from typing import TYPE_CHECKING, Any

from local.fake_stripe import expand, filters
from local.fake_stripe.billing import list_of
from local.fake_stripe.errors import parameter_invalid, parameter_missing, resource_missing
from local.fake_stripe.forms import encode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from local.fake_stripe.operations import Match
    from local.fake_stripe.store import Body, View

DEFAULT_LIMIT = 10
MAX_LIMIT = 100
_CURSOR = re.compile(r"\d+")


def answer(view: View, match: Match, path: str, params: dict[str, Any]) -> Body:
    """Return the body of a GET; raises ApiError as Stripe would answer."""
    operation = match.operation
    wanted = params.get("expand") or []
    if not isinstance(wanted, list):
        raise parameter_invalid("expand", "Invalid array")
    if operation.kind == "list":
        body = _list(view, match, path, params)
    elif operation.kind == "search":
        body = _search(view, match, path, params)
    elif operation.is_item:
        body = _retrieve(view, match)
    else:
        body = singleton(view, match, path)
    return expand.expand(view, body, wanted) if wanted and not body.get("deleted") else body


def render(body: Body) -> bytes:
    """Return the bytes as Stripe sends them: indented by two blanks."""
    return json.dumps(body, indent=2, ensure_ascii=False).encode() + b"\n"


def singleton(view: View, match: Match, path: str) -> Body:
    """Return the one object that lives at a path, with its defaults until it is first changed."""
    stored = view.get(path)
    if stored:
        return {key: value for key, value in stored.items() if key != "id"}
    object_type, scope = match.operation.object_type, view.space.scope
    if object_type == "account":
        return view.get(scope.account) or {
            "id": scope.account,
            "object": "account",
            "country": "US",
            "type": "standard",
        }
    if object_type == "balance":
        funds = [{"amount": 0, "currency": "usd", "source_types": {"card": 0}}]
        return {"object": "balance", "available": funds, "livemode": scope.livemode, "pending": funds}
    parent = {}
    if match.values:
        _require(view, match.operation.segments[0], match.values[0])
        parent = {_singular(match.operation.segments[0]): match.values[0]}
    return {"object": object_type, **parent, "livemode": scope.livemode}


def _retrieve(view: View, match: Match) -> Body:
    object_id = match.values[-1]
    body = view.get(object_id)
    if body is None or not _fits(body, match.operation.object_type):
        raise resource_missing(match.operation.object_type, object_id)
    if body.get("deleted") and body["object"] != "customer":
        raise resource_missing(match.operation.object_type, object_id)
    return expand.present(view, body)


def _fits(body: Body, object_type: str) -> bool:
    # External accounts and sources are several types under one path.
    unions = {"account", "bank_account", "card", "source"}
    return body["object"] == object_type or (object_type in unions and body["object"] in unions)


def _list(view: View, match: Match, path: str, params: dict[str, Any]) -> Body:
    members = _members(view, match, params)
    if path.startswith("/v2/"):
        return _page_v2(view, list(members), path, params)
    chosen, has_more = _page(members, params)
    return list_of(path, [expand.present(view, each) for each in chosen], has_more=has_more)


def _members(view: View, match: Match, params: dict[str, Any]) -> Iterable[Body]:
    """Return everything the list would hold without pages, newest first."""
    operation = match.operation
    if match.values:
        noun, _, segment = operation.segments[-3:]
        parent = _require(view, noun, match.values[-1])
        embedded = parent.get(segment)
        if isinstance(embedded, dict) and embedded.get("object") == "list":
            data: list[Body] = embedded["data"]
            return data
        params = {**params, _singular(noun): match.values[-1]}
    customer = params.get("customer")
    members = view.newest_first(operation.object_type, customer if isinstance(customer, str) else None)
    if operation.object_type == "event" and "delivery_success" in params:
        # Stripe: false finds events with a delivery that is pending or failed.
        succeeded, undelivered = params["delivery_success"] == "true", view.space.undelivered
        members = (body for body in members if (undelivered[body["id"]] == 0) == succeeded)
    return (body for body in members if filters.accepts(body, params))


def _page(found: Iterable[Body], params: dict[str, Any]) -> tuple[list[Body], bool]:
    limit = _limit(params)
    after, before = params.get("starting_after"), params.get("ending_before")
    if after and before:
        raise parameter_invalid("starting_after", "You can only pass one of starting_after and ending_before.")
    if not after and not before:
        first = list(islice(found, limit + 1))
        return first[:limit], len(first) > limit
    members = list(found)
    if before:
        end = _position(members, before, "ending_before")
        start = max(0, end - limit)
        return members[start:end], start > 0
    start = _position(members, str(after), "starting_after") + 1
    return members[start : start + limit], len(members) > start + limit


def _page_v2(view: View, members: list[Body], path: str, params: dict[str, Any]) -> Body:
    start, limit = _offset(params), _limit(params)
    data = [expand.present(view, each) for each in members[start : start + limit]]

    def url(offset: int) -> str:
        return f"{path}?{encode({**params, 'page': offset, 'limit': limit})}"

    following = url(start + limit) if len(members) > start + limit else None
    return {
        "data": data,
        "next_page_url": following,
        "previous_page_url": url(max(0, start - limit)) if start else None,
    }


def _search(view: View, match: Match, path: str, params: dict[str, Any]) -> Body:
    if "query" not in params:
        raise parameter_missing("query")
    matches = filters.compile_query(str(params["query"]))
    found = [body for body in view.newest_first(match.operation.object_type) if matches(body)]
    start, limit = _offset(params), _limit(params)
    more = len(found) > start + limit
    data = [expand.present(view, each) for each in found[start : start + limit]]
    next_page = str(start + limit) if more else None
    return {"object": "search_result", "data": data, "has_more": more, "next_page": next_page, "url": path}


def _position(members: list[Body], object_id: str, param: str) -> int:
    for index, body in enumerate(members):
        if body["id"] == object_id:
            return index
    raise resource_missing("", object_id, param)


def _limit(params: dict[str, Any]) -> int:
    limit = params.get("limit", DEFAULT_LIMIT)
    if not str(limit).isdigit() or not 1 <= int(limit) <= MAX_LIMIT:
        raise parameter_invalid("limit", f"Invalid integer: {limit}: must be between 1 and {MAX_LIMIT}.")
    return int(limit)


def _offset(params: dict[str, Any]) -> int:
    page = str(params.get("page", "0"))
    if not _CURSOR.fullmatch(page):
        raise parameter_invalid("page", f"Invalid page: {page}")
    return int(page)


def _require(view: View, noun: str, object_id: str) -> Body:
    body = view.get(object_id)
    if body is None or body.get("deleted"):
        raise resource_missing(_singular(noun), object_id, _singular(noun))
    return body


def _singular(noun: str) -> str:
    return noun[:-3] + "y" if noun.endswith("ies") else noun.removesuffix("s")

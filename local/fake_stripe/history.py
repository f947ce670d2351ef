"""Which answers a GET had, and from when until when: what a checker holds a cache's answers against."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from local.fake_stripe import forms, reads
from local.fake_stripe.errors import ApiError, unknown_url

if TYPE_CHECKING:
    from local.fake_stripe.operations import Match, Router
    from local.fake_stripe.store import Body, Entry, Space

_IDS = re.compile(rb'"((?:[a-z]+_)*[A-Za-z0-9]{8,}|/v1/[\w/]+)"')
# Lists that hang on a customer appear in expanded answers without having been there before.
_HANGING = {"subscription", "tax_id", "card"}


class Interval(NamedTuple):
    """Wall-clock seconds."""

    since: float = 0.0
    until: float = float("inf")


ALWAYS = Interval()


def digest(body: Any) -> str:
    """Return the SHA-256 of the body as canonical JSON: sorted keys, no blanks, UTF-8."""
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def target_of(router: Router, space: Space, object_id: str) -> str:
    """Return the path that retrieves an object; raises ApiError when there is no such object."""
    record = space.records.get(object_id)
    template = router.retrieve_template(record.object_type) if record else None
    if template is None:
        raise unknown_url("GET", object_id)
    return template[: template.rindex("{")] + object_id


def history(
    router: Router, space: Space, target: str, during: Interval = ALWAYS, *, bodies: bool = False
) -> list[dict[str, Any]]:
    """Return the answers that GET `target` had at any moment of the interval, oldest first.

    `since` and `until` of an answer are wall-clock seconds; `until` is None while it still is the current one.
    Nothing is known from before the scope's last seeding.
    """
    path, _, query = target.partition("?")
    match = router.match("GET", path)
    if match is None:
        raise unknown_url("GET", path)
    params = forms.decode(query)
    found: list[dict[str, Any]] = []
    change, at = space.log_begins
    state = _Answer(space, match, path, params, change=change)
    current = _row(state, at, bodies=bodies)
    for entry in space.log:
        if entry.at > during.until:
            break
        if not state.touched_by(entry):
            continue
        state = _Answer(space, match, path, params, change=entry.change)
        row = _row(state, entry.at, bodies=bodies)
        if row["digest"] == current["digest"]:
            continue
        current["until"] = entry.at
        if entry.at >= during.since:
            found.append(current)
        current = row
    return [*found, current]


class _Answer:
    """What the GET answered right after one change, and which later changes could alter it."""

    def __init__(self, space: Space, match: Match, path: str, params: dict[str, Any], *, change: int) -> None:
        self.change = change
        self.status, self.body = _evaluate(space, match, path, params, change)
        operation = match.operation
        self._types = {operation.object_type} if operation.kind != "object" or match.values == () else set()
        if params.get("expand"):
            self._types |= _HANGING
        self._ids = {found.decode() for found in _IDS.findall(json.dumps(self.body).encode())} | {path, *match.values}

    def touched_by(self, entry: Entry) -> bool:
        """Tell whether the change may alter the answer; it may also turn out not to."""
        return entry.object_id in self._ids or entry.object_type in self._types


def _evaluate(space: Space, match: Match, path: str, params: dict[str, Any], change: int) -> tuple[int, Body]:
    try:
        return 200, reads.answer(space.view(change), match, path, params)
    except ApiError as error:
        return error.status, error.body


def _row(state: _Answer, since: float, *, bodies: bool) -> dict[str, Any]:
    shown = {"body": state.body} if bodies else {}
    return {
        "since": since,
        "until": None,
        "change": state.change,
        "status": state.status,
        "digest": digest(state.body),
        **shown,
    }

"""What Stripe is told to send: every event that voids something, in a request that the SDK would take."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, get_type_hints

import pytest
from stripe.params.v2.core import EventDestinationCreateParams, EventDestinationUpdateParams
from synthesis import ROOT

from stripe_cache.core import catalog


def tool(*arguments: str, given: str = "", code: int = 0) -> str:
    ended = subprocess.run(
        [sys.executable, ROOT / "tools" / "event_types.py", *arguments],
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == code, ended.stderr
    return ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def listed() -> list[str]:
    return tool().splitlines()


def test_it_lists_the_events_of_what_is_cached_and_of_what_cached_answers_embed(listed: list[str]) -> None:
    known = {name for name, event in catalog.event_types().items() if event.flavour == "snapshot"}
    assert set(listed) < known
    assert listed == sorted(set(listed))
    for kept in ("customer", "product", "price", "invoice", "charge"):
        own = {name for name, event in catalog.event_types().items() if kept in event.objects and name in known}
        assert own
        assert own <= set(listed)
    assert "customer.subscription.updated" in listed
    # It waits for an answer that we do not have.
    assert "issuing_authorization.request" not in listed


def checked(body: dict[str, Any], params: type) -> dict[str, Any]:
    assert body.keys() <= get_type_hints(params, vars(sys.modules[params.__module__])).keys()
    return body


def test_the_bodies_are_what_the_sdk_would_send(listed: list[str]) -> None:
    webhook = checked(json.loads(tool("--webhook", "https://example.com/stripe/events")), EventDestinationCreateParams)
    assert webhook["webhook_endpoint"] == {"url": "https://example.com/stripe/events"}
    assert webhook["enabled_events"] == listed
    assert (webhook["event_payload"], webhook["snapshot_api_version"]) == ("snapshot", catalog.api_version())
    bus = checked(json.loads(tool("--eventbridge", "123456789012", "us-east-1")), EventDestinationCreateParams)
    assert bus["amazon_eventbridge"] == {"aws_account_id": "123456789012", "aws_region": "us-east-1"}
    assert checked(json.loads(tool("--update")), EventDestinationUpdateParams) == {"enabled_events": listed}


def test_a_destination_out_of_step_is_told_what_differs(listed: list[str]) -> None:
    assert tool("--compare", given=json.dumps({"enabled_events": listed})) == "in step\n"
    assert tool("--compare", given=json.dumps({"enabled_events": ["*"]})) == "in step\n"
    other = [name for name in listed if name != "customer.updated"] + ["issuing_authorization.request"]
    told = tool("--compare", given=json.dumps({"enabled_events": other}), code=1)
    assert "+ customer.updated: missing" in told
    assert "- issuing_authorization.request: voids nothing" in told
    assert len(told.splitlines()) == 2
    assert "as JSON" in tool("--compare", given="<html>", code=1)

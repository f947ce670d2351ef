"""Which of Stripe's event types the cache must hear of, from the catalog; and what to tell Stripe about them.

    python tools/event_types.py                                 one per line
    python tools/event_types.py --webhook URL                   the body that creates a webhook endpoint
    python tools/event_types.py --eventbridge ACCOUNT REGION    the body that creates an EventBridge source
    python tools/event_types.py --update                        the body that brings a destination up to date
    python tools/event_types.py --compare < destination.json    exit 1 if the destination's types are others

Snapshot events: a thin one names no customer and voids more than it must. Types that no policy may ever keep are left
out, and so are events that void nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from typing import Any

from catalog import coverage

from stripe_cache.core import catalog

DESTINATION = {"name": "stripe-cache", "event_payload": "snapshot", "events_from": ["@self"]}


def body_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return the body of the request to /v2/core/event_destinations that the options ask for."""
    events = list(coverage.heard())
    if options.update:
        return {"enabled_events": events}
    body = {**DESTINATION, "snapshot_api_version": catalog.api_version(), "enabled_events": events}
    if options.webhook:
        included = {"include": ["webhook_endpoint.signing_secret"]}
        return {**body, "type": "webhook_endpoint", "webhook_endpoint": {"url": options.webhook}, **included}
    account, region = options.eventbridge
    return {
        **body,
        "type": "amazon_eventbridge",
        "amazon_eventbridge": {"aws_account_id": account, "aws_region": region},
    }


def differences(destination: dict[str, Any]) -> list[str]:
    """Say what a destination lacks and what it sends for nothing; empty when it is in step."""
    wanted, enabled = set(coverage.heard()), set(destination.get("enabled_events", ()))
    if enabled == {"*"}:
        return []
    return [
        *(f"+ {name}: missing, changes of it stay cached until they expire" for name in sorted(wanted - enabled)),
        *(f"- {name}: voids nothing" for name in sorted(enabled - wanted)),
    ]


def main(arguments: list[str] | None = None) -> int:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--webhook", metavar="URL")
    which.add_argument("--eventbridge", nargs=2, metavar=("ACCOUNT", "REGION"))
    which.add_argument("--update", action="store_true")
    which.add_argument("--compare", action="store_true")
    options = parser.parse_args(arguments)
    if options.compare:
        try:
            destination = json.load(sys.stdin)
        except ValueError:
            sys.exit("--compare reads an event destination as JSON, as GET /v2/core/event_destinations/ed_... answers")
        found = differences(destination)
        print("\n".join(found) or "in step")
        return 1 if found else 0
    if options.webhook or options.eventbridge or options.update:
        print(json.dumps(body_of(options)))
    else:
        # Whoever reads only the first lines, such as `head`, has what it wanted.
        with contextlib.suppress(BrokenPipeError):
            print("\n".join(coverage.heard()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A stage as it was deployed into a moto server, and its functions at work in sandboxes of their own."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from local.deploy import DeployedFunction
    from local.fake_stripe.client import FakeStripe
    from local.lambda_rie import LambdaRuntime
    from local.moto_server import MotoServer
    from stripe_cache_cdk.config import Topology

SIGNING, API_KEY = "whsec_deployed", "sk_test_deployed"


@dataclass(frozen=True)
class Deployment:
    topology: Topology
    server: MotoServer
    output: Path
    functions: dict[str, DeployedFunction]

    def templates(self) -> dict[str, dict[str, Any]]:
        return {path.name: json.loads(path.read_text()) for path in sorted(self.output.glob("stripe-*.template.json"))}

    def count(self, kind: str) -> int:
        return sum(
            resource["Type"] == kind for found in self.templates().values() for resource in found["Resources"].values()
        )


@dataclass(frozen=True)
class Service:
    """The three deployed functions, each in a sandbox of its own, and the fake Stripe they call."""

    webhook: LambdaRuntime
    entitlements: LambdaRuntime
    consumer: LambdaRuntime
    stripe: FakeStripe

    def name_of(self, customer: str) -> tuple[str, str]:
        """Return the customer's name as the sample endpoint tells it, and how the answer was come by."""
        answer = self.entitlements.invoke({"pathParameters": {"customer": customer}})
        assert answer["statusCode"] == 200, answer
        return json.loads(answer["body"])["name"], answer["headers"]["cache-status"]

    def deliver(self, event: dict[str, Any], signing: str = SIGNING) -> int:
        """Deliver an event as Stripe and API Gateway do; return the status that Stripe would see."""
        body, now = json.dumps(event), int(time.time())
        digest = hmac.new(signing.encode(), f"{now}.{body}".encode(), hashlib.sha256).hexdigest()
        headers = {"Stripe-Signature": f"t={now},v1={digest}", "Content-Type": "application/json"}
        return int(self.webhook.invoke({"headers": headers, "body": body, "isBase64Encoded": False})["statusCode"])

    def last_event(self) -> dict[str, Any]:
        event: dict[str, Any] = self.stripe.truth("/v1/events?limit=1")["data"][0]
        return event

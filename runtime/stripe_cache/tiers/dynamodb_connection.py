"""A DynamoDB client that fails fast. Importing this module imports boto3: do it on first use."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config


def connect(timeout: float) -> Any:
    """Return a client whose every call ends within `timeout` seconds of connecting and as many of waiting; no retries.

    Region, credentials and endpoint (AWS_ENDPOINT_URL_DYNAMODB) are boto3's own affair.
    """
    config = Config(
        connect_timeout=timeout,
        read_timeout=timeout,
        # botocore's back-off sleeps up to a second; the next tier, or Stripe itself, is nearer than that.
        retries={"total_max_attempts": 1},
        max_pool_connections=32,
        tcp_keepalive=True,
    )
    # A session of our own: boto3's default session must not be shared while it is being made by two threads.
    return boto3.session.Session().client("dynamodb", config=config)

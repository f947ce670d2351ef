"""An SQS client that fails fast. Importing this module imports boto3: do it on first use."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config

from stripe_cache.tiers.aws_deadline import bounded


def connect(connect_timeout: float, read_timeout: float) -> Any:
    """Return a client whose every call ends within so many seconds of connecting and so many of the whole exchange.

    Both count by the clock, however slowly bytes come in (see aws_deadline.py); no retries.

    Region, credentials and endpoint (AWS_ENDPOINT_URL_SQS) are boto3's own affair.
    """
    config = Config(connect_timeout=connect_timeout, read_timeout=read_timeout, retries={"total_max_attempts": 1})
    return bounded(boto3.session.Session().client("sqs", config=config))

"""Lambda initialises a sandbox while nobody waits: what takes long is made then."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from handlers.conftest import aws_client

from local.ports import free_port

if TYPE_CHECKING:
    import pytest

    from local.fake_stripe.client import FakeStripe

WRITES = """
import sys
import stripe_cache.handlers.container as c
import botocore.session
botocore.session.Session.create_client = None  # no other client can be made from here on
c.container().client().v1.customers.update(sys.argv[1], {"name": "new"})
"""


def test_a_sandbox_warms_while_it_initialises(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
    program = (
        "import sys; import stripe_cache.handlers.container as c; "
        "print(c.container.cache_info().currsize, 'boto3' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["1", "True"]


def test_a_wrong_environment_does_not_fail_the_initialisation(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")
    environment.setenv("STRIPE_CACHE_MEMORY_MAX_LAG", "soon")
    program = "import stripe_cache.handlers.container as c; print(c.container.cache_info().currsize)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["0"]


def test_a_write_that_redis_misses_is_queued_with_the_client_that_was_made_then(
    environment: pytest.MonkeyPatch, fake: FakeStripe
) -> None:
    customer = fake.seed(customers=1)["customers"][0]
    url = aws_client("sqs").create_queue(QueueName=f"warm-{time.time_ns()}")["QueueUrl"]
    environment.setenv("STRIPE_CACHE_INVALIDATION_QUEUE_URL", url)
    environment.setenv("STRIPE_CACHE_REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
    environment.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
    done = subprocess.run(
        [sys.executable, "-c", WRITES, customer], capture_output=True, text=True, timeout=60, check=False
    )
    assert not done.returncode, done.stderr
    (queued,) = aws_client("sqs").receive_message(QueueUrl=url)["Messages"]
    assert customer in json.loads(queued["Body"])["records"]

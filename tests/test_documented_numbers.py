"""The numbers that docs/tiers.md and docs/origin.md state are those of the code: each sentence is made of constants."""

from __future__ import annotations

from pathlib import Path

import pytest

from stripe_cache import Settings
from stripe_cache.core import allocation, breaker, buckets, claims, deadline, freshness, heat, limiter, origin, refresh
from stripe_cache.core.rate_limits import BURST, RateLimits
from stripe_cache.settings import _LONGEST_NEGATIVE
from stripe_cache.tiers import dynamodb_connection, outbox_sqs, redis_bounded, redis_connection, refresh_queue
from stripe_cache_cdk.constructs import environment as env

DOCS = Path(__file__).parent.parent / "docs"
WORDS = {0.1: "tenth", 0.2: "fifth", 0.5: "half", 1: "one", 2: "two", 3: "three", 5: "five", 10: "ten"}
REDIS, DYNAMODB = Settings().redis_timeout, Settings().dynamodb_timeout
LIMITS = RateLimits()


def ms(seconds: float) -> str:
    return f"{seconds * 1000:g} ms"


def pauses() -> str:
    first, longest = breaker.FIRST_PAUSE, breaker.LONGEST_PAUSE
    return f"{first:g} s, then {2 * first:g}, {4 * first:g}, up to {longest:g} s"


TIERS = [
    f"finds all {redis_connection.MAX_CONNECTIONS} connections to a server in use | waits {ms(REDIS)} for one at most",
    f"{ms(REDIS)} for connecting (all addresses of the name and the TLS handshake together), {ms(REDIS)} for sending",
    f"| the reply to an IAM login | {ms(redis_connection.LOGIN_SECONDS)} |",
    f"{ms(DYNAMODB)} for connecting (all addresses of the name and the TLS handshake together), {ms(DYNAMODB)} from",
    f"to what is left less {deadline.ANSWER_SECONDS:g} s, but not under {ms(deadline.SHORTEST_STEP)};",
    f"| a connection silent for {redis_bounded.QUIET:g} s |",
    f"| a connection silent for {redis_bounded.LONGEST_IDLE:g} s, by either clock |",
    f"| a connection silent for {dynamodb_connection.LONGEST_IDLE:g} s, by either clock |",
    f"A silence of less than {redis_bounded.LONGEST_IDLE:g} s after which the peer is gone",
    f"opened with an IAM token | replaced after {redis_connection.LONGEST_LIFE / 3600:g} h |",
    f"a tier that failed {'twice' if breaker.THRESHOLD == 2 else breaker.THRESHOLD} in a row, or once by being slow",
    f"left alone for {pauses()}; one caller tries for all",
    (
        f"**every write waits once for each dead tier: {ms(REDIS)} for Redis, {ms(DYNAMODB)} for DynamoDB, "
        f"{ms(REDIS + DYNAMODB)} with both away**"
    ),
    f"The queue gets one attempt of {outbox_sqs.CONNECT_SECONDS:g} s for connecting and {outbox_sqs.READ_SECONDS:g} s",
    f"A refresh has {refresh_queue.CONNECT_SECONDS:g} s and {refresh_queue.READ_SECONDS:g} s, once for each pause",
    f"`RES_OPTIONS={env.RESOLVER_GIVES_UP}`",
    f"waited {ms(REDIS)}; with one breaker for all",
]
ORIGIN = [
    (
        f"{LIMITS.live:g} requests a second live and {LIMITS.test:g} in a sandbox, {LIMITS.endpoint:g} for each API "
        f"operation, {LIMITS.search:g} for search and for files"
    ),
    f"grows back in about {WORDS[limiter.LOCAL_RECOVERY / 60]} minutes of use",
    f"Buckets hold {WORDS[BURST]} a second's worth",
    f"A {WORDS[LIMITS.reserve]} of each rate is kept for writes",
    f"`STRIPE_CACHE_ORIGIN_WAIT` seconds ({Settings().origin_wait:g})",
    f"until {WORDS[deadline.CALL_SECONDS]} second before its end and never more than {WORDS[deadline.LONGEST_WAIT]}.",
    (
        f"slows the bucket it names to {buckets.SHRINK * 100:g} % at once, and it recovers within "
        f"{WORDS[buckets.RECOVERY / 60]} a minute"
    ),
    f"is begun anew, {WORDS[buckets.START]} full",
    f"A turn further off than {'a minute' if buckets.LONGEST_PROMISE == 60 else buckets.LONGEST_PROMISE} is promised",
    (
        f'"live": 500, "test": {LIMITS.test:g}, "endpoint": {LIMITS.endpoint:g}, "search": {LIMITS.search:g}, '
        f'"files": {LIMITS.files:g}, "reserve": {LIMITS.reserve:g}'
    ),
    f"longer than `STRIPE_CACHE_ORIGIN_TIMEOUT` ({Settings().origin_timeout:g} s)",
    f"a read that has a stale entry takes longer than {deadline.STALE_READ:g} s, all attempts together",
    f"{WORDS[origin.FAILURES_TO_OPEN]} failures in a row (connection errors, 5xx)",
    f"each failed try doubles the pause, up to {breaker.LONGEST_PAUSE:g} s",
    f"A read that has a stale entry waits {WORDS[claims.STALE_PATIENCE]} second at most for another",
    (
        f"costs a process's first readers {WORDS[deadline.STALE_READ]} seconds each, the others behind them "
        f"{WORDS[claims.STALE_PATIENCE]}"
    ),
    f"a read gets what is left less {deadline.LAST_SECONDS:g} s for the handler",
    f"With less than {deadline.LAST_SECONDS + deadline.SHORTEST_READ:g} s left, a stale entry answers",
    f"for what is left less {deadline.ANSWER_SECONDS:g} s: Stripe may be quick",
    f"up to a {WORDS[freshness.JITTER]} less than its TTL",
    f"In its last {WORDS[freshness.EARLY_WINDOW]} seconds",
    f"one message per entry and {WORDS[refresh.LOCK_SECONDS / 60]} minute",
    f"hit {WORDS[heat.HOT_HITS]} times within {'a minute' if heat.WINDOW == 60 else heat.WINDOW}",
    f"asks for one refresh per variant, {WORDS[heat.DELAY]} seconds later",
    f"Notes live {heat.NOTE_TTL / 60:g} minutes",
    f"`STRIPE_CACHE_NEGATIVE_TTL` ({Settings().negative_ttl:g}, at most {_LONGEST_NEGATIVE} s)",
    (
        f"{allocation.PER_TRANSACTION} reads per transaction over {allocation.DAYS} days, and at least "
        f"{allocation.FLOOR:,} a month"
    ),
    (
        f"tells it every {allocation.BATCH_READS} reads or every "
        f"{'minute' if allocation.BATCH_SECONDS == 60 else allocation.BATCH_SECONDS};"
    ),
]


@pytest.mark.parametrize(
    ("document", "sentence"), [*(("tiers.md", one) for one in TIERS), *(("origin.md", one) for one in ORIGIN)]
)
def test_a_document_states_what_the_code_does(document: str, sentence: str) -> None:
    assert sentence in " ".join((DOCS / document).read_text(encoding="utf-8").split())

"""What encryption costs: sealing and opening alone, and a Redis hit with and without it.

Run `python -m benchmarks.encryption`. KMS is moto's server on loopback, so what a KMS call takes is not measured;
it is made once per data key and hour.
"""

from __future__ import annotations

import json
import logging
import os
import time
from functools import partial
from typing import TYPE_CHECKING

import boto3
from moto.server import ThreadedMotoServer

from local.valkey import Valkey
from stripe_cache.core.clock import SystemClock
from stripe_cache.core.entry import Entry, Stored
from stripe_cache.core.key import Key
from stripe_cache.core.ports import NO_HOLD, NullMeter, Slot
from stripe_cache.core.sealing import UNSEALED
from stripe_cache.settings import Settings
from stripe_cache.tiers import codec
from stripe_cache.tiers.redis import RedisTier
from stripe_cache.tiers.redis_connection import connect
from stripe_cache.tiers.redis_url import parse
from stripe_cache.wiring import make_sealer

if TYPE_CHECKING:
    from collections.abc import Callable

    from stripe_cache.core.sealing import Sealer

SIZES = (1_000, 4_000, 40_000)
ROUNDS, REPEATS = 7, 2000


def main() -> None:
    """Measure and print a table."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ |= {
        "AWS_ENDPOINT_URL_KMS": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    try:
        with Valkey() as valkey:
            _report(valkey.url)
    finally:
        server.stop()


def _report(url: str) -> None:
    kms_key = boto3.client("kms").create_key()["KeyMetadata"]["Arn"]
    settings = Settings(namespace="acct_bench", redis_url=url, kms_key=kms_key, dynamodb_timeout=10.0)
    sealer = make_sealer(settings, SystemClock(), NullMeter())
    began = time.perf_counter()
    sealer.seal(b"", Key.of("acct_bench.test", "warm", "v"))
    print(f"first seal (boto3, cryptography, one data key): {(time.perf_counter() - began) * 1000:.0f} ms")
    print("    body    entry   sealed      seal      open   plain hit  sealed hit     more")
    for size in SIZES:
        stored = Stored(Entry(200, (), _body(size), 0.0, 1.0, 2.0))
        key = Key.of("acct_bench.test", f"cus_{size}", "v")
        twin = Key.of("acct_bench.test", f"cus_{size}_sealed", "v")
        plain = codec.encode(stored, key.binding)
        sealed = sealer.seal(plain, key)
        seal, opened = _microseconds(partial(sealer.seal, plain, key), partial(sealer.open, sealed, key))
        hits = _microseconds(*(_hit(url, one, stored, slot) for one, slot in ((UNSEALED, key), (sealer, twin))))
        print(
            f"{size:>8,} {len(plain):>8,} {len(sealed):>8,} {seal:>6.1f} us {opened:>6.1f} us"
            f" {hits[0]:>8.1f} us {hits[1]:>8.1f} us {hits[1] - hits[0]:>5.1f} us"
        )


def _hit(url: str, sealer: Sealer, stored: Stored, key: Key) -> Callable[[], object]:
    """Store an entry in a record of its own, and return what reads it."""
    tier = RedisTier(lambda: connect(parse(url), 5.0), NullMeter(), sealer)
    tier.void(key.namespace, [key.record], "g0", NO_HOLD)
    (state,), _ = tier.touch(key.namespace, [key.record], "g1", 600)
    tier.store(key, state.generation, stored, 600)
    if tier.read(key.namespace, [Slot(key.record, key)])[0].stored is None:
        raise SystemExit("the entry was not stored")
    return partial(tier.read, key.namespace, [Slot(key.record, key)])


def _body(size: int) -> bytes:
    rows = [{"id": f"il_{number:08x}", "amount": number * 37 % 9973} for number in range(size // 36)]
    return json.dumps({"object": "list", "data": rows}).encode()


def _microseconds(*works: Callable[[], object]) -> list[float]:
    """Return each one's best mean time over rounds that alternate, so that a busy machine hurts all alike."""
    best = [float("inf")] * len(works)
    for _ in range(ROUNDS):
        for index, work in enumerate(works):
            began = time.perf_counter()
            for _ in range(REPEATS):
                work()
            best[index] = min(best[index], (time.perf_counter() - began) / REPEATS * 1e6)
    return best


if __name__ == "__main__":
    main()

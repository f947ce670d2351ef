"""The shared token buckets: one hash per namespace holding all of them, so that one script takes from two at once.

    sc1:{namespace|#rate}   b<bucket>   "tokens reserved factor at shrunk_at"; b alone is the whole namespace's
                            r<day>      reads of Stripe on that day (days since the epoch)

Redis's own clock counts, so clients' clocks do not matter; should it be set back, buckets go on from there. What no
bucket of ours can hold is taken for none. The scripts are `core/buckets.py` once more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import redis

from stripe_cache.core import buckets
from stripe_cache.core.errors import TierError
from stripe_cache.core.limiter import Grant
from stripe_cache.core.rate_limits import BURST
from stripe_cache.tiers.redis import record_key
from stripe_cache.tiers.redis_scripts import Script

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stripe_cache.core.limiter import Demand
    from stripe_cache.core.rate_limits import Bucket
    from stripe_cache.tiers.redis import Commands

RECORD = "#rate"
KEPT_SECONDS = 35 * 86400
"""The reads of 30 days are counted in the same hash."""
_DAY = 86400
_ROUNDED = 1e-6

_CLOCK = "local time = redis.call('TIME')\nlocal now = time[1] + time[2] / 1000000\n"
_LEVEL = f"""
local function level(name, rate, reserve)
  local raw = redis.call('HGET', KEYS[1], 'b' .. name)
  local b = {{}}
  if raw then
    b.tokens, b.reserved, b.factor, b.at, b.shrunk =
      string.match(raw, '^(%S+) (%S+) (%S+) (%S+) (%S+)$')
    for key, value in pairs(b) do b[key] = tonumber(value) end
  end
  -- A comparison with what is no number is false.
  local owed = -rate * {buckets.LONGEST_PROMISE}
  if not (b.shrunk and b.at and b.factor and b.tokens and b.reserved
      and b.tokens >= owed and b.reserved >= owed and b.factor >= {buckets.LEAST} and b.factor <= 1
      and b.at >= 0 and b.shrunk >= 0) then
    local size = rate * {BURST} * {buckets.START}
    b = {{tokens = math.max(1, size * (1 - reserve)), reserved = math.max(1, size * reserve)}}
    b.factor, b.at, b.shrunk = 1, now, 0
  end
  local gap = math.max(0, now - b.at)
  b.at, b.shrunk = now, math.min(b.shrunk, now)
  b.factor = math.min(1, b.factor + math.min(gap, {buckets.LONGEST_GAP}) / {buckets.RECOVERY})
  local inflow = gap * rate * b.factor
  local kept = math.min(math.max(1, rate * b.factor * {BURST} * reserve), b.reserved + inflow * reserve)
  local overflow = b.reserved + inflow * reserve - kept
  b.reserved = kept
  local size = math.max(1, rate * b.factor * {BURST} * (1 - reserve))
  b.tokens = math.max(b.tokens, -{buckets.LONGEST_PROMISE} * rate * b.factor * (1 - reserve))
  b.tokens = math.min(size, b.tokens + inflow * (1 - reserve) + overflow)
  return b
end
local function keep(name, b)
  redis.call('HSET', KEYS[1], 'b' .. name,
    string.format('%.17g %.17g %.17g %.17g %.17g', b.tokens, b.reserved, b.factor, b.at, b.shrunk))
  if redis.call('TTL', KEYS[1]) < {KEPT_SECONDS - _DAY} then redis.call('EXPIRE', KEYS[1], {KEPT_SECONDS}) end
end
"""

# ARGV: reserve, urgent, patience, reads to count; then name and rate of each bucket.
TAKE = Script(
    _CLOCK
    + _LEVEL
    + f"""
local reserve, urgent, patience = tonumber(ARGV[1]), ARGV[2] == '1', tonumber(ARGV[3])
local longest, slowest, found = -1, '', {{}}
for i = 5, #ARGV, 2 do
  local name, rate = ARGV[i], tonumber(ARGV[i + 1])
  local b = level(name, rate, reserve)
  local speed = rate * b.factor
  local wait, from_reserve = math.max(0, 1 - b.tokens) / (speed * (1 - reserve)), false
  if urgent and wait > 0 and reserve > 0 then
    local spare = math.max(0, 1 - b.reserved) / (speed * reserve)
    if spare < wait then wait, from_reserve = spare, true end
  end
  found[#found + 1] = {{name, b, from_reserve}}
  if wait > longest then longest, slowest = wait, name end
end
if longest > patience then return {{0, string.format('%.6f', longest), slowest}} end
for _, one in ipairs(found) do
  local b = one[2]
  if one[3] then b.reserved = b.reserved - 1 else b.tokens = b.tokens - 1 end
  keep(one[1], b)
end
if ARGV[4] ~= '0' then
  local day = math.floor(now / {_DAY})
  local counted = redis.call('HINCRBY', KEYS[1], 'r' .. day, ARGV[4])
  if counted == tonumber(ARGV[4]) then
    for old = day - 70, day - 35 do redis.call('HDEL', KEYS[1], 'r' .. old) end
  end
end
return {{1, string.format('%.6f', longest), slowest}}
"""
)
# ARGV: reserve, name, rate.
SHRINK = Script(
    _CLOCK
    + _LEVEL
    + f"""
local b = level(ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[1]))
if b.at - b.shrunk >= {buckets.SHRUNK_ONCE} then
  b.factor, b.shrunk = math.max({buckets.LEAST}, b.factor * {buckets.SHRINK}), b.at
end
b.tokens, b.reserved = math.min(b.tokens, 0), math.min(b.reserved, 0)
keep(ARGV[2], b)
return 1
"""
)


class UnknownScriptError(TierError):
    """The server has restarted, or never saw the script."""


class RedisBuckets:
    """Takes tokens from Redis or Valkey. Thread-safe as its client is; `connect` makes the client on first use."""

    def __init__(self, connect: Callable[[], Commands]) -> None:
        self._connect = connect

    def take(self, demand: Demand, reserve: float) -> Grant:
        """Take from every bucket or none, in one round trip."""
        named = [part for bucket in demand.buckets for part in (bucket.name, bucket.rate)]
        patience = min(demand.patience, buckets.LONGEST_PROMISE)
        given, wait, slowest = self._run(
            TAKE, demand.namespace, reserve, int(demand.urgent), patience, demand.reads, *named
        )
        grant = Grant(bool(given), float(wait), slowest.decode())
        # No turn is further off than what was promised, and one token at the lowest rate there is.
        lowest = min(bucket.rate for bucket in demand.buckets) * buckets.LEAST * (1 - reserve)
        longest = patience if grant.given else buckets.LONGEST_PROMISE + 1 / lowest
        if not -_ROUNDED <= grant.wait <= longest + _ROUNDED:
            raise TierError(f"redis: a turn in {grant.wait:g} s, where {longest:g} s is the most there can be")
        return grant

    def shrink(self, namespace: str, bucket: Bucket, reserve: float) -> None:
        """Slow one bucket down."""
        self._run(SHRINK, namespace, reserve, bucket.name, bucket.rate)

    def by_day(self, namespace: str, days: Sequence[int]) -> dict[int, int]:
        """Return the reads counted on these days; raises TierError."""
        values = self._send("HMGET", record_key(namespace, RECORD), *(f"r{day}" for day in days))
        try:
            return {day: int(value) for day, value in zip(days, values, strict=True) if value is not None}
        except ValueError:
            raise TierError("redis: the reads of a day are no number") from None

    def add(self, namespace: str, day: int, reads: int) -> None:
        """Count reads that no `take` has counted; raises TierError."""
        self._send("HINCRBY", record_key(namespace, RECORD), f"r{day}", reads)
        self._send("EXPIRE", record_key(namespace, RECORD), KEPT_SECONDS)

    def _run(self, script: Script, namespace: str, *arguments: Any) -> Any:
        key = record_key(namespace, RECORD)
        try:
            return self._send("EVALSHA", script.digest, 1, key, *arguments)
        except UnknownScriptError:
            return self._send("EVAL", script.source, 1, key, *arguments)

    def _send(self, *command: Any) -> Any:
        try:
            return self._connect().execute_command(*command)
        except redis.exceptions.NoScriptError as error:
            raise UnknownScriptError(str(error)) from error
        except (redis.RedisError, OSError) as error:
            raise TierError(f"redis: {type(error).__name__}: {error}") from error

"""The steps on a record and on the counter as Lua scripts: each is atomic, declares its one key and is sent by digest.

No command here is one that ElastiCache Serverless refuses.
"""

from __future__ import annotations

import hashlib
from typing import Any

from stripe_cache.core.protocol import MERGED, MOST_HOLDS, SKEW_SECONDS


class Script:
    """A Lua script of one key with its digest."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


_LIVE_AT_LEAST = """
local function live(seconds)
  if redis.call('TTL', KEYS[1]) < seconds then redis.call('EXPIRE', KEYS[1], seconds) end
end
"""

# Somebody else's key under our name: it makes way, or the record could never be cached nor voided again.
_OURS = """
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'hash' and kind ~= 'none' then redis.call('DEL', KEYS[1]) end
"""

TOUCH = Script(
    _LIVE_AT_LEAST
    + _OURS
    + """
redis.call('HSETNX', KEYS[1], 'g', ARGV[1])
live(tonumber(ARGV[2]))
return redis.call('HMGET', KEYS[1], 'g', 's', 'h')
"""
)
SETTLE = Script(
    """
if redis.call('HGET', KEYS[1], 'g') ~= ARGV[1] then return 0 end
return redis.call('HSETNX', KEYS[1], 's', ARGV[2])
"""
)
STORE = Script(
    _LIVE_AT_LEAST
    + """
if redis.call('HGET', KEYS[1], 'g') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
redis.call('HDEL', KEYS[1], 'c' .. string.sub(ARGV[2], 2))
live(tonumber(ARGV[4]))
return 1
"""
)
HOLD_LIMITS = (int(SKEW_SECONDS), MOST_HOLDS)
# ARGV: token, hold to add, hold to remove, seconds to live, HOLD_LIMITS. `kept_holds` in core/protocol.py, as a script.
VOID = Script(
    _OURS
    + """
if ARGV[2] == '' and redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local function ends(hold) return tonumber(string.sub(string.match(hold, '@(%d+)$') or '', 1, 15)) end
local ended = redis.call('TIME')[1] - ARGV[5]
local kept = {}
for hold in string.gmatch(redis.call('HGET', KEYS[1], 'h') or '', '[^,]+') do
  if hold ~= ARGV[3] and hold ~= ARGV[2] and (ends(hold) or ended + 1) > ended then kept[#kept + 1] = hold end
end
if ARGV[2] ~= '' then kept[#kept + 1] = ARGV[2] end
if #kept > tonumber(ARGV[6]) then
  local foreign, last = {}, -1
  for _, hold in ipairs(kept) do
    if ends(hold) then last = math.max(last, ends(hold)) else foreign[#foreign + 1] = hold end
  end
  if last >= 0 then foreign[#foreign + 1] = string.format('MERGED@%.0f', last) end
  kept = foreign
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'g', ARGV[1])
if #kept > 0 then redis.call('HSET', KEYS[1], 'h', table.concat(kept, ',')) end
redis.call('EXPIRE', KEYS[1], ARGV[4])
return 1
""".replace("MERGED", MERGED)
)
# A full server lets a script go on that has written before. EXPIRE needs no room, and opens the door for the counter,
# without which nothing could be voided; DEL does so in VOID. Both leave the server fuller by a few bytes only.
COUNT = Script(
    _OURS
    + """
redis.call('EXPIRE', KEYS[1], ARGV[4])
if redis.call('HSETNX', KEYS[1], 'e', ARGV[1]) == 1 then redis.call('HSET', KEYS[1], 'n', 0, 'd', 0) end
if ARGV[2] ~= '0' then redis.call('HINCRBY', KEYS[1], 'n', ARGV[2]) end
if ARGV[3] ~= '0' then redis.call('HINCRBY', KEYS[1], 'd', ARGV[3]) end
redis.call('EXPIRE', KEYS[1], ARGV[4])
return redis.call('HMGET', KEYS[1], 'e', 'n', 'd')
"""
)
# ARGV: generation, field, token, milliseconds (0 only asks), those of the longest claim. A claim is
# "+<until> <token>", a notice "!<until> <token>".
CLAIM = Script(
    """
if redis.call('HGET', KEYS[1], 'g') ~= ARGV[1] then return 'gone' end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local kind, ends, by = string.match(redis.call('HGET', KEYS[1], ARGV[2]) or '', '^(.)(%d+) ?(.*)$')
if kind and not (kind == '+' and by == ARGV[3]) and tonumber(ends) > now and tonumber(ends) <= now + ARGV[5] then
  return kind == '+' and 'taken' or 'alone'
end
if tonumber(ARGV[4]) > 0 then
  redis.call('HSET', KEYS[1], ARGV[2], string.format('+%.0f %s', now + ARGV[4], ARGV[3]))
end
return 'mine'
"""
)
RELEASE = Script(
    """
if redis.call('HGET', KEYS[1], 'g') ~= ARGV[1] then return 0 end
local held = redis.call('HGET', KEYS[1], ARGV[2]) or ''
if string.match(held, ' (.*)$') ~= ARGV[3] then return 0 end
local time = redis.call('TIME')
redis.call('HSET', KEYS[1], ARGV[2], string.format('!%.0f %s', time[1] * 1000 + ARGV[4], ARGV[3]))
return 1
"""
)


def by_digest(command: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return what is sent: a script by its digest, any other command as it is."""
    script = command[0]
    return ("EVALSHA", script.digest, 1, *command[1:]) if isinstance(script, Script) else command


def in_full(command: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a script's call for a server that does not know its digest."""
    script, *arguments = command
    return ("EVAL", script.source, 1, *arguments)


def insists(command: tuple[Any, ...]) -> bool:
    """Tell whether it is part of an invalidation, which is tried whatever is known of its node."""
    return command[0] is VOID or (command[0] is COUNT and any(command[3:5]))

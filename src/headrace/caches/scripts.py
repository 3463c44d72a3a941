"""What Redis does in one step, in its own language.

A value begins with two times of 16 digits, milliseconds of the server's clock: until when
it is fresh, and until when it is kept; zeros are no end. A lease is its end and its
holder. Redis's own expiry only clears away what these times have ended.

`ARGV[1]` is how many milliseconds to add to the server's clock: 0 but in tests.
"""

from __future__ import annotations

from typing import Final

TIMES_BYTES: Final = 32
"""At the beginning of a value."""

_NOW: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
local function lasts(digits)
  local until_ = tonumber(digits)
  return until_ == 0 or until_ > now
end
"""

_HELD: Final = """
local function holder_of(lease)
  if not lease then return nil end
  if not lasts(string.sub(lease, 1, 16)) then return nil end
  return string.sub(lease, 18)
end
"""

GET: Final = (
    _NOW
    + """
local value = redis.call('GET', KEYS[1])
if not value or not lasts(string.sub(value, 17, 32)) then return nil end
redis.call('INCR', KEYS[2])
return {value, lasts(string.sub(value, 1, 16)) and 1 or 0}
"""
)
"""KEYS: value, count of hits. Returns the value and 1 if it is fresh, or nothing."""

PUT: Final = (
    _NOW
    + """
local function end_after(ms)
  return ms == '' and '0000000000000000' or string.format('%016.0f', now + ms)
end
local value = end_after(ARGV[3]) .. end_after(ARGV[4]) .. ARGV[2]
if ARGV[4] == '' then
  redis.call('SET', KEYS[1], value)
else
  redis.call('SET', KEYS[1], value, 'PX', math.max(1, tonumber(ARGV[4])))
end
redis.call('DEL', KEYS[2])
"""
)
"""KEYS: value, lease. ARGV: the value, milliseconds fresh and kept, empty for ever."""

CLAIM: Final = (
    _NOW
    + _HELD
    + """
local holder = holder_of(redis.call('GET', KEYS[2]))
if holder and holder ~= ARGV[2] then return 0 end
local times = redis.call('GETRANGE', KEYS[1], 0, 31)
if times ~= '' and lasts(string.sub(times, 1, 16)) then
  redis.call('DEL', KEYS[2])
  return 0
end
local ends = string.format('%016.0f', now + ARGV[3])
redis.call('SET', KEYS[2], ends .. ':' .. ARGV[2], 'PX', ARGV[3])
return 1
"""
)
"""KEYS: value, lease. ARGV: holder, milliseconds. Returns 1 if it is the holder's now."""

RELEASE: Final = (
    _NOW
    + _HELD
    + """
if holder_of(redis.call('GET', KEYS[1])) == ARGV[2] then
  redis.call('DEL', KEYS[1])
end
"""
)
"""KEYS: lease. ARGV: holder."""

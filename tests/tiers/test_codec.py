from __future__ import annotations

import struct
import tracemalloc
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stripe_cache.core.entry import Entry, Stored
from stripe_cache.core.errors import CorruptEntryError
from stripe_cache.core.key import digest
from stripe_cache.tiers import codec

GOLDEN = Path(__file__).parent.parent / "golden" / "entry_v1.bin"
BINDING = digest("acct_1.live", "cus_1", "v")
SAMPLE = Stored(
    Entry(
        status=200,
        headers=(("request-id", "req_golden"), ("stripe-version", "2025-01-27.acacia")),
        body=b'{"id": "cus_1", "object": "customer", "name": "J\xc3\xbcrgen"}',
        fetched_at=1_700_000_000.125,
        fresh_until=1_700_003_600.125,
        stale_until=1_700_007_200.125,
        embeds=("/v1/prices?*", "prod_1"),
    ),
    ("gen-1", "gen-2"),
)

plain = st.text(st.characters(blacklist_characters="\x1e\x1f", blacklist_categories=("Cs",)), min_size=1, max_size=20)
times = st.integers(0, 4_000_000_000_000).map(lambda milliseconds: milliseconds / 1000)
bodies = st.one_of(st.binary(max_size=600), st.binary(min_size=1, max_size=9).map(lambda word: word * 100))


@st.composite
def stored(draw: st.DrawFn) -> Stored:
    embeds = tuple(draw(st.lists(plain, max_size=4)))
    entry = Entry(
        status=draw(st.sampled_from([200, 404])),
        headers=tuple(draw(st.lists(st.tuples(plain, plain), max_size=4))),
        body=draw(bodies),
        fetched_at=draw(times),
        fresh_until=draw(times),
        stale_until=draw(times),
        embeds=embeds,
    )
    return Stored(entry, tuple(draw(plain) for _ in embeds))


def test_the_pinned_bytes_are_what_is_written_and_read() -> None:
    """A change here orphans every entry in every store: it needs a new format version and a new golden file."""
    golden = GOLDEN.read_bytes()
    assert codec.decode(golden, BINDING) == SAMPLE
    assert codec.encode(SAMPLE, BINDING) == golden


def test_the_header_lies_where_the_format_says() -> None:
    golden = GOLDEN.read_bytes()
    assert golden[:4] == b"SC\x01\x00"
    assert int.from_bytes(golden[4:8], "big") == zlib.crc32(golden[8:])
    assert golden[8:24] == BINDING
    assert struct.unpack(">QQQHIII", golden[24:62])[:4] == (
        1_700_000_000_125,
        1_700_003_600_125,
        1_700_007_200_125,
        200,
    )


@given(stored(), st.binary(min_size=16, max_size=16))
def test_what_is_encoded_is_decoded(value: Stored, binding: bytes) -> None:
    assert codec.decode(codec.encode(value, binding), binding) == value


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_corrupt_and_nothing_else(raw: bytes) -> None:
    with pytest.raises(CorruptEntryError):
        codec.decode(raw, BINDING)


@given(stored(), st.data())
def test_any_changed_byte_is_noticed(value: Stored, data: st.DataObject) -> None:
    raw = bytearray(codec.encode(value, BINDING))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(CorruptEntryError):
        codec.decode(bytes(raw), BINDING)


@given(stored(), st.integers(0, 700), st.binary(max_size=5))
def test_cut_and_lengthened_values_are_corrupt(value: Stored, cut: int, tail: bytes) -> None:
    raw = codec.encode(value, BINDING)
    changed = raw[:cut] + tail if cut < len(raw) else raw + (tail or b"\x00")
    if changed != raw:
        with pytest.raises(CorruptEntryError):
            codec.decode(changed, BINDING)


def sealed(raw: bytes) -> bytes:
    """Give forged bytes a right checksum, as somebody who knows the format would."""
    return raw[:4] + zlib.crc32(raw[8:]).to_bytes(4, "big") + raw[8:]


@given(stored(), st.data())
def test_forged_values_with_a_right_checksum_raise_nothing_else(value: Stored, data: st.DataObject) -> None:
    raw = bytearray(codec.encode(value, BINDING))
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        codec.decode(sealed(bytes(raw)), BINDING)
    except CorruptEntryError as error:
        assert str(error)  # noqa: PT017 (a forged value may also be a valid one)


def test_another_slots_value_is_corrupt() -> None:
    with pytest.raises(CorruptEntryError, match="another slot"):
        codec.decode(codec.encode(SAMPLE, BINDING), digest("acct_1.live", "cus_2", "v"))


@pytest.mark.parametrize("status", [0, 99, 304, 429, 500, 65535])
def test_an_answer_that_is_never_kept_is_corrupt(status: int) -> None:
    with pytest.raises(CorruptEntryError, match="impossible"):
        codec.decode(codec.encode(replace(SAMPLE, entry=replace(SAMPLE.entry, status=status)), BINDING), BINDING)


@pytest.mark.parametrize("version", [0, 2, 255])
def test_another_format_version_is_corrupt(version: int) -> None:
    raw = codec.encode(SAMPLE, BINDING)
    with pytest.raises(CorruptEntryError, match="format version 1"):
        codec.decode(sealed(raw[:2] + bytes((version,)) + raw[3:]), BINDING)


@pytest.mark.parametrize("claimed", [100, codec.MAX_BODY_BYTES])
def test_a_bomb_is_noticed_without_being_inflated(claimed: int) -> None:
    bomb = zlib.compress(bytes(200 * 1024 * 1024), 9)
    head = struct.pack(">2sBBI16sQQQHIII", b"SC", 1, 1, 0, BINDING, 0, 0, 0, 200, claimed, 0, 0)
    raw = sealed(head + bomb)
    tracemalloc.start()
    try:
        with pytest.raises(CorruptEntryError, match="another length"):
            codec.decode(raw, BINDING)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * codec.MAX_BODY_BYTES


def test_a_claim_of_an_impossible_size_is_corrupt() -> None:
    head = struct.pack(">2sBBI16sQQQHIII", b"SC", 1, 1, 0, BINDING, 0, 0, 0, 200, codec.MAX_BODY_BYTES + 1, 0, 0)
    with pytest.raises(CorruptEntryError, match="impossible"):
        codec.decode(sealed(head + zlib.compress(b"x")), BINDING)

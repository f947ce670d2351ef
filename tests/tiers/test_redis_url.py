from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stripe_cache.core.errors import SettingError
from stripe_cache.tiers.redis_url import RedisAddress, parse


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://host", RedisAddress("host", 6379, tls=False, cluster=False, database=0)),
        ("rediss://host:7000/3", RedisAddress("host", 7000, tls=True, cluster=False, database=3)),
        ("redis+cluster://host/", RedisAddress("host", 6379, tls=False, cluster=True, database=0)),
        ("rediss+cluster://[::1]:1/0", RedisAddress("::1", 1, tls=True, cluster=True, database=0)),
        (
            "redis+cluster://me:a%2Cb@h1:7000,h2,[::1]:7002,h1:7000/0?region=x",
            RedisAddress(
                "h1",
                7000,
                tls=False,
                cluster=True,
                database=0,
                username="me",
                password="a,b",
                region="x",
                others=(("h2", 6379), ("::1", 7002)),
            ),
        ),
        (
            "rediss+cluster://[::1]:7000,h2:7001",
            RedisAddress("::1", 7000, tls=True, cluster=True, database=0, others=(("h2", 7001),)),
        ),
        (
            "rediss://c.example.com?iam_user=app&cache_name=stripe&serverless=true&region=eu-west-1",
            RedisAddress(
                "c.example.com",
                6379,
                tls=True,
                cluster=False,
                database=0,
                iam_user="app",
                cache_name="stripe",
                serverless=True,
                region="eu-west-1",
            ),
        ),
    ],
)
def test_each_kind_of_address_is_read(url: str, expected: RedisAddress) -> None:
    assert parse(url) == expected


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_credentials_are_unquoted_and_never_shown(user: str, password: str) -> None:
    found = parse(f"redis://{quote(user, safe='')}:{quote(password, safe='')}@host")
    assert (found.username, found.password) == (user, password)
    assert "password" not in repr(found)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "scheme must be one of redis, rediss, redis.cluster, rediss.cluster"),
        ("host:6379", "scheme must be one of"),
        ("http://host", "scheme must be one of"),
        ("redis://", "names no host; use redis://host:6379/0"),
        ("redis://host:port", "no URL"),
        ("redis://host:99999", "no URL"),
        ("redis://[::1", "no URL"),
        ("redis://host/zero", "database number such as /0"),
        ("redis://host/-1", "database number"),
        ("redis://h1:1,h2:2", r"only a cluster has several hosts; use redis\+cluster://"),
        ("rediss://h1:1,h2:2", r"only a cluster has several hosts; use rediss\+cluster://"),
        ("redis+cluster://,h2:2", "names no host"),
        ("redis+cluster://h1:1,", "no URL .*a host is missing behind a comma"),
        ("redis+cluster://h1:1,:2", "no URL .*a host is missing behind a comma"),
        ("redis+cluster://h1:1,h2:port", "no URL"),
        ("redis+cluster://u:p@h1:1,u:p@h2:2", "no URL .*user and password go before the first host only"),
        ("redis+cluster://host/1", "a cluster has database 0 only"),
        ("redis://host?ssl=true", "unknown option 'ssl', known are"),
        ("rediss://host?iam_user=a", "needs both iam_user and cache_name"),
        ("rediss://host?cache_name=a", "needs both iam_user and cache_name"),
        ("redis://host?iam_user=a&cache_name=b", "needs TLS: use rediss"),
    ],
)
def test_what_cannot_work_is_named_with_the_remedy(url: str, said: str) -> None:
    with pytest.raises(SettingError, match=rf"^STRIPE_CACHE_REDIS_URL is .*{said}"):
        parse(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://me:hunter2@host",
        "redis://me:hunter2@host:port",
        "redis://me:hunter2@host/x",
        "redis://:hunter2@",
        "redis://me:hunter2@host?x=1",
        "redis://me:hunt@hunter2@host?x=1",
        "redis://me:hunter2@host,other",
        "redis+cluster://me:hunter2@host,other:port",
        "redis+cluster://me:hunter2@host,me:hunter2@other",
        "me:hunter2@host",
    ],
)
def test_no_message_shows_a_password(url: str) -> None:
    with pytest.raises(SettingError) as caught:
        parse(url)
    assert "hunter2" not in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_a_setting_error(url: str) -> None:
    try:
        assert parse(url).host
    except SettingError as error:
        assert "STRIPE_CACHE_REDIS_URL" in str(error)  # noqa: PT017 (either outcome is right)

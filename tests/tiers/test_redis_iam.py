from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import redis
from botocore.credentials import Credentials
from botocore.model import ServiceId
from botocore.session import get_session
from botocore.signers import RequestSigner

from stripe_cache.tiers.redis_iam import IamCredentials
from stripe_cache.tiers.redis_url import parse

URL = "rediss://cache.example.com:6379?iam_user=app&cache_name=My-Cache&region=eu-west-1"


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-example")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session/token+example=")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)


def presigned(extra: str, at: datetime) -> str:
    """Sign the same request by botocore's own presigner, as AWS's examples do."""
    credentials = Credentials("AKIDEXAMPLE", "secret-example", "session/token+example=")
    signer = RequestSigner(
        ServiceId("elasticache"),
        "eu-west-1",
        "elasticache",
        "v4",
        credentials,
        get_session().get_component("event_emitter"),
    )
    request: dict[str, Any] = {
        "method": "GET",
        "url": f"https://my-cache/?Action=connect&User=app{extra}",
        "body": {},
        "headers": {},
        "context": {"timestamp": at.strftime("%Y%m%dT%H%M%SZ")},
    }
    url: str = signer.generate_presigned_url(request, operation_name="connect", expires_in=900, region_name="eu-west-1")
    return url.removeprefix("https://")


@pytest.mark.parametrize(("option", "extra"), [("", ""), ("&serverless=true", "&ResourceType=ServerlessCache")])
def test_the_token_is_the_one_that_botocores_presigner_makes(option: str, extra: str) -> None:
    credentials = IamCredentials(parse(URL + option))
    for _ in range(20):
        before = datetime.now(UTC)
        user, token = credentials.get_credentials()
        expected = presigned(extra, before)
        if datetime.now(UTC).second == before.second:
            break
    assert user == "app"
    ours, theirs = parse_qs(urlsplit(f"//{token}").query), parse_qs(urlsplit(f"//{expected}").query)
    assert ours == theirs
    assert token.partition("?")[0] == "my-cache/"
    assert "secret-example" not in token


def test_every_connection_gets_a_token_signed_anew() -> None:
    credentials = IamCredentials(parse(URL))
    query = parse_qs(urlsplit(f"//{credentials.get_credentials()[1]}").query)
    assert query["X-Amz-Expires"] == ["900"]
    assert query["X-Amz-Credential"][0].endswith("/eu-west-1/elasticache/aws4_request")


def test_no_region_is_an_error_of_the_tier() -> None:
    with pytest.raises(redis.AuthenticationError, match="no AWS credentials or no region"):
        IamCredentials(parse(URL.replace("&region=eu-west-1", ""))).get_credentials()


def test_the_region_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    token = IamCredentials(parse(URL.replace("&region=eu-west-1", ""))).get_credentials()[1]
    assert "us-west-2" in token

"""IAM authentication to ElastiCache: a token signed anew for every connection.

A token opens connections for 15 minutes, and one signed with a role's credentials dies with them, so a token that is
kept is an outage to come. Signing is local: no AWS call is made. ElastiCache cuts a connection 12 hours after its last
login; it is replaced by then (redis_connection.LONGEST_LIFE), not logged in again, which a reply under way would meet.
(https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth-iam.html)
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

import redis
from redis.credentials import CredentialProvider

if TYPE_CHECKING:
    from botocore.session import Session

    from stripe_cache.tiers.redis_url import RedisAddress

_SECONDS = 900


class IamCredentials(CredentialProvider):
    """Signs `Action=connect` for one user of one cache, with the credentials boto3 finds."""

    def __init__(self, address: RedisAddress) -> None:
        self._address = address
        self._session: Session | None = None

    def get_credentials(self) -> tuple[str, str]:
        """Return user name and token; redis-py asks before every connection, and with none there is no connection.

        Raises redis.AuthenticationError: redis-py would keep a connection open, and unauthenticated, on any other.
        """
        try:
            return self._address.iam_user, self._sign()
        except redis.RedisError:
            raise
        except Exception as error:
            # Whatever the chain of providers raises: expired, unreachable, unreadable. Its text may quote a profile.
            raise redis.AuthenticationError(f"AWS credentials to sign with: {type(error).__name__}") from error

    def _sign(self) -> str:
        from botocore.auth import SigV4QueryAuth
        from botocore.awsrequest import AWSRequest
        from botocore.session import get_session

        session = self._session = self._session or get_session()
        credentials = session.get_credentials()
        region = self._address.region or session.get_config_variable("region")
        if credentials is None or not region:
            # The chain is asked anew next time: the session would remember that it found nothing.
            self._session = None
            raise redis.AuthenticationError("IAM authentication found no AWS credentials or no region")
        query = {"Action": "connect", "User": self._address.iam_user}
        if self._address.serverless:
            query["ResourceType"] = "ServerlessCache"
        request = AWSRequest("GET", f"https://{self._address.cache_name.lower()}/?{urlencode(query)}")
        SigV4QueryAuth(credentials.get_frozen_credentials(), "elasticache", region, _SECONDS).add_auth(request)
        return str(request.url).removeprefix("https://")

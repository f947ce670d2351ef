"""Who may connect to the cache: IAM users of ElastiCache, and what each may do there."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_elasticache as elasticache
from aws_cdk import aws_iam as iam
from constructs import Construct

KEYS = "~sc1:*"
# CLUSTER and COMMAND are what a cluster-aware client asks on connecting, TIME is the clock that claims go by. What is
# dangerous is taken away before, since rules are applied from left to right. Lua runs with the caller's permissions.
_ANYBODY = "-@dangerous +time +info +command +cluster|slots +cluster|shards +cluster|nodes"
READ_WRITE = f"on {KEYS} resetchannels -@all +@read +@write +@connection +eval +evalsha +script|load {_ANYBODY}"
READ_ONLY = f"on {KEYS} resetchannels -@all +@read +@connection +eval_ro +evalsha_ro +script|load {_ANYBODY}"
LONGEST_NAME = 40


class RedisAccess(Construct):
    """Two users without passwords, one that may write and one that may not, and the group that holds both.

    A connection is authenticated by a token signed with the caller's AWS credentials, so there is no secret to keep or
    roll.
    """

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(scope, construct_id)
        self._users = {read_only: self._user(read_only=read_only) for read_only in (False, True)}
        self.group = elasticache.CfnUserGroup(
            self,
            "Group",
            engine="valkey",
            user_group_id=short_name(self, "group"),
            user_ids=[user.ref for user in self._users.values()],
        )

    def user_name(self, *, read_only: bool) -> str:
        """Return the name that goes into the connection's URL."""
        return self._users[read_only].user_name

    def grant_connect(self, grantee: iam.IGrantable, cache_arn: str, *, read_only: bool) -> None:
        """Allow signing a token for the cache as one of the users; ElastiCache checks both ARNs."""
        iam.Grant.add_to_principal(
            grantee=grantee,
            actions=["elasticache:Connect"],
            resource_arns=[cache_arn, self._users[read_only].attr_arn],
        )

    def _user(self, *, read_only: bool) -> elasticache.CfnUser:
        # With IAM authentication the name must equal the id, and CloudFormation generates neither.
        name = short_name(self, "reader" if read_only else "writer")
        return elasticache.CfnUser(
            self,
            "Reader" if read_only else "Writer",
            engine="valkey",
            user_id=name,
            user_name=name,
            access_string=READ_ONLY if read_only else READ_WRITE,
            authentication_mode={"Type": "iam"},
        )


def short_name(scope: Construct, suffix: str) -> str:
    """Return a name for what CloudFormation does not name itself: from the path, lower case, at most 40 characters."""
    room = LONGEST_NAME - len(suffix) - 1
    stem = cdk.Names.unique_resource_name(scope, max_length=room, separator="-").lower()
    return f"{stem.strip('-')}-{suffix}"

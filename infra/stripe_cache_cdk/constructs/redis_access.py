"""Who may connect to the cache: IAM users of ElastiCache, and what each may do there."""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum

import aws_cdk as cdk
from aws_cdk import aws_elasticache as elasticache
from aws_cdk import aws_iam as iam
from constructs import Construct

KEYS = "~sc1:*"
# CLUSTER and COMMAND are what a cluster-aware client asks on connecting, TIME is the clock that claims go by. What is
# dangerous is taken away before, since rules are applied from left to right. Lua runs with the caller's permissions.
# Nobody may list keys, but who searches all of it: to erase somebody, or to void everything that an outbox names.
_ANYBODY = "-@dangerous -scan -randomkey +time +info +command +cluster|slots +cluster|shards +cluster|nodes"
READ_WRITE = f"on {KEYS} resetchannels -@all +@read +@write +@connection +eval +evalsha +script|load {_ANYBODY}"
READ_ONLY = f"on {KEYS} resetchannels -@all +@read +@connection +eval_ro +evalsha_ro +script|load {_ANYBODY}"
PURGE = f"{READ_WRITE} +scan"
REPLAY = f"{READ_WRITE} +scan"
LONGEST_NAME = 40


class Rights(StrEnum):
    """What a user of the cache may do; the values are part of the users' names."""

    WRITE = "writer"
    READ = "reader"
    PURGE = "purger"
    REPLAY = "replayer"


_RULES = {Rights.WRITE: READ_WRITE, Rights.READ: READ_ONLY, Rights.PURGE: PURGE, Rights.REPLAY: REPLAY}


class RedisAccess(Construct):
    """Two users without passwords, one that may write and one that may not, and the group that holds both.

    Two more may list keys, and join them when somebody is granted that: who erases, and who replays an outbox. Their
    rights are the same and their roles are not, so a policy that lets one connect says nothing of the other. A
    connection is authenticated by a token signed with the caller's AWS credentials, so there is no secret to keep or
    roll.
    """

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(scope, construct_id)
        self._users = {rights: self._user(rights) for rights in (Rights.WRITE, Rights.READ)}
        self.group = elasticache.CfnUserGroup(
            self,
            "Group",
            engine="valkey",
            user_group_id=short_name(self, "group"),
            user_ids=[user.ref for user in self._users.values()],
        )

    def user_name(self, rights: Rights) -> str:
        """Return the name that goes into the connection's URL."""
        return self._found(rights).user_name

    def grant_connect(self, grantee: iam.IGrantable, cache_arn: str, rights: Rights) -> None:
        """Allow signing a token for the cache as one of the users; ElastiCache checks both ARNs."""
        iam.Grant.add_to_principal(
            grantee=grantee,
            actions=["elasticache:Connect"],
            resource_arns=[cache_arn, self._found(rights).attr_arn],
        )

    def _found(self, rights: Rights) -> elasticache.CfnUser:
        if rights not in self._users:
            self._users[rights] = self._user(rights)
            self.group.user_ids = [user.ref for user in self._users.values()]
        return self._users[rights]

    def _user(self, rights: Rights) -> elasticache.CfnUser:
        # With IAM authentication the name must equal the id, and CloudFormation generates neither.
        name = short_name(self, rights)
        return elasticache.CfnUser(
            self,
            rights.title(),
            engine="valkey",
            user_id=name,
            user_name=name,
            access_string=_RULES[rights],
            authentication_mode={"Type": "iam"},
        )


def name_of(scope: Construct, suffix: str, *parts: object) -> str:
    """Return a short name that changes with `parts`: what replaces a resource must rename it.

    CloudFormation makes the new one before it deletes the old, and two of one name cannot coexist.
    """
    told = json.dumps(cdk.Stack.of(scope).resolve(list(parts)), sort_keys=True)
    return short_name(scope, f"{hashlib.sha256(told.encode()).hexdigest()[:6]}-{suffix}")


def short_name(scope: Construct, suffix: str) -> str:
    """Return a name for what CloudFormation does not name itself: from the path, lower case, at most 40 characters."""
    room = LONGEST_NAME - len(suffix) - 1
    stem = cdk.Names.unique_resource_name(scope, max_length=room, separator="-").lower()
    return f"{stem.strip('-')}-{suffix}"

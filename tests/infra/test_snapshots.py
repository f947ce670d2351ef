"""Every template as it was reviewed. To accept a change: `make snapshots`."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from synthesis import COMBINATIONS, PARTS, resources, template_of
from syrupy.extensions.json import JSONSnapshotExtension

from stripe_cache_cdk.config import Topology

if TYPE_CHECKING:
    from syrupy.assertion import SnapshotAssertion

# What the runtime's sources change, and nothing else: the asset's name, and the id of a published version.
ASSET = re.compile(r"\b[0-9a-f]{64}\b")
VERSION = re.compile(r"(CurrentVersion[0-9A-F]{8})[0-9a-f]{32}\b")


def masked(template: dict[str, Any]) -> dict[str, Any]:
    text = VERSION.sub(r"\1[VERSION]", ASSET.sub("[ASSET]", json.dumps(template)))
    loaded: dict[str, Any] = json.loads(text)
    return loaded


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(("stage", "topology"), COMBINATIONS)
def test_the_template_is_the_one_that_was_reviewed(
    stage: str, topology: Topology, part: str, snapshot: SnapshotAssertion
) -> None:
    is_same = masked(template_of(stage, topology, part)) == snapshot.use_extension(JSONSnapshotExtension)
    assert is_same, "the template has changed: `make snapshots`, review the diff, commit it"


def test_masking_hides_the_asset_and_no_more() -> None:
    template = template_of("dev", Topology.DYNAMODB_ONLY, "service")
    assert ASSET.search(json.dumps(template))
    assert not ASSET.search(json.dumps(masked(template)))
    assert masked({"a": "f" * 63, "b": "CurrentVersionABC"}) == {"a": "f" * 63, "b": "CurrentVersionABC"}


STATEFUL = (
    *("AWS::DynamoDB::GlobalTable", "AWS::ElastiCache::ServerlessCache", "AWS::ElastiCache::ReplicationGroup"),
    *("AWS::ElastiCache::User", "AWS::ElastiCache::UserGroup", "AWS::SecretsManager::Secret", "AWS::SQS::Queue"),
)
PINNED = {
    "CacheApiKeyAAF98B55": "AWS::SecretsManager::Secret",
    "CacheDynamoTable23073AF4": "AWS::DynamoDB::GlobalTable",
    "CacheInvalidationsDeadLetters55AE1443": "AWS::SQS::Queue",
    "CacheInvalidationsQueueBFB65342": "AWS::SQS::Queue",
    "CacheRedisAccessGroup5762E6AE": "AWS::ElastiCache::UserGroup",
    "CacheRedisAccessReaderBEB1B958": "AWS::ElastiCache::User",
    "CacheRedisAccessWriterAADEBFE4": "AWS::ElastiCache::User",
    "CacheRedisCache24BE9804": "AWS::ElastiCache::ServerlessCache",
    "CacheRefreshesDeadLettersC1CE19AD": "AWS::SQS::Queue",
    "CacheRefreshesQueueA89F55CF": "AWS::SQS::Queue",
    "CacheRedisAccessReplayer9D132ACE": "AWS::ElastiCache::User",
    "CacheWebhookSecretBA9367B7": "AWS::SecretsManager::Secret",
}


@pytest.mark.parametrize("topology", Topology)
def test_what_holds_state_keeps_its_logical_id(topology: Topology) -> None:
    """Another logical id is another resource: the old one would be deleted with what is in it."""
    found = {
        name: value["Type"] for name, value in resources(template_of("prod", topology, "store"), *STATEFUL).items()
    }
    expected = {
        name: kind
        for name, kind in PINNED.items()
        if topology is not Topology.DYNAMODB_ONLY or "ElastiCache" not in kind
    }
    assert found == expected

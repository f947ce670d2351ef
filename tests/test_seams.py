"""Where infrastructure and runtime meet: both say the same names, though neither imports the other."""

from __future__ import annotations

import re
from typing import Any

import pytest
from synthesis import COMBINATIONS, ROOT, resources, template_of

from stripe_cache_cdk.config import Topology
from stripe_cache_cdk.constructs import environment as env
from stripe_cache_cdk.constructs.runtime_function import HANDLERS

RUNTIME = ROOT / "runtime" / "stripe_cache"
EVERYWHERE = pytest.mark.parametrize(("stage", "topology"), COMBINATIONS)


def functions(stage: str, topology: Topology) -> dict[str, dict[str, Any]]:
    """Return the properties of each deployed function by its handler."""
    found = resources(template_of(stage, topology, "service"), "AWS::Lambda::Function").values()
    return {function["Properties"]["Handler"]: function["Properties"] for function in found}


@EVERYWHERE
def test_the_handlers_that_are_deployed_are_those_of_the_contract(stage: str, topology: Topology) -> None:
    assert set(functions(stage, topology)) == {
        "stripe_cache.handlers.webhook.handler",
        "stripe_cache.handlers.entitlements.handler",
        "stripe_cache.handlers.invalidations.handler",
    }
    assert set(HANDLERS.values()) == set(functions(stage, topology))


@EVERYWHERE
def test_each_function_is_told_what_its_handler_needs_and_no_more(stage: str, topology: Topology) -> None:
    shared = {env.NAMESPACE, env.LIVEMODE, env.STAGE, env.EVENTS, env.TABLE, env.INVALIDATION_QUEUE_URL}
    if topology is not Topology.DYNAMODB_ONLY:
        shared.add(env.REDIS_URL)
    told = {
        handler: set(properties["Environment"]["Variables"])
        for handler, properties in functions(stage, topology).items()
    }
    assert told == {
        HANDLERS["webhook"]: shared | {env.WEBHOOK_SECRET},
        HANDLERS["invalidations"]: shared,
        HANDLERS["entitlements"]: shared | {env.API_KEY_SECRET},
    }


def test_constructs_set_names_from_one_list_only() -> None:
    """A name typed by hand anywhere else in the constructs would escape the comparison with the runtime."""
    by_hand = {
        name
        for path in (ROOT / "infra").rglob("*.py")
        if path.name != "environment.py"
        for name in re.findall(r"STRIPE_CACHE_[A-Z_]+", re.sub(r'""".*?"""', "", path.read_text(), flags=re.DOTALL))
    }
    assert by_hand == set()
    assert len(set(env.ALL)) == len(env.ALL) == 9

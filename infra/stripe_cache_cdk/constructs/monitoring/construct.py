"""The dashboard and the alarms of one cache, and the topic that alarms go to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from stripe_cache_cdk.checks import check_match
from stripe_cache_cdk.choices import EMAIL, check_object_type
from stripe_cache_cdk.constructs.entitlements_endpoint import EntitlementsEndpoint
from stripe_cache_cdk.constructs.eventbridge_source import EventBridgeSource
from stripe_cache_cdk.constructs.monitoring import metrics as names
from stripe_cache_cdk.constructs.monitoring import widgets
from stripe_cache_cdk.constructs.monitoring.alarm_maker import AlarmMaker
from stripe_cache_cdk.constructs.monitoring.alarms import CacheAlarms
from stripe_cache_cdk.constructs.monitoring.metrics import CacheMetrics
from stripe_cache_cdk.constructs.monitoring.topic import alarm_topic
from stripe_cache_cdk.constructs.props import checked
from stripe_cache_cdk.constructs.reconciler import Reconciler
from stripe_cache_cdk.constructs.same_place import check_place
from stripe_cache_cdk.constructs.schedule import PeriodicInvocation
from stripe_cache_cdk.constructs.webhook_endpoint import WebhookEndpoint
from stripe_cache_cdk.errors import ConstructError, naming
from stripe_cache_cdk.thresholds import Thresholds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aws_cdk import aws_sqs as sqs

    from stripe_cache_cdk.constructs.stripe_cache import StripeCache

DEFAULT_TYPES = ("customer", "invoice", "price", "product", "subscription")
BESIDE = "CacheAlarms"


class Monitoring(Construct):
    """One dashboard and an alarm for each thing that breaks a promise of the cache, all to one encrypted SNS topic.

    Watched without being named: the tiers, the queue, every function attached to the cache, and every WebhookEndpoint
    and Reconciler made for it, whether before this construct or after. `watch` adds what does not know the cache: an
    EventBridgeSource, a PeriodicInvocation, another function. `functions` and `dead_letters` do so under names.

    `object_types` get a line each in the hit ratio, and cost three custom metrics each, about 0.90 USD a month.
    `alarm_email` subscribes an address, which must confirm. An alarm costs 0.10 USD a month, for each metric that it
    looks at: five of each node of a cache on nodes. A dashboard costs 3 USD after the third of an account, the topic's
    key 1 USD; it is kept where the cache keeps its table.
    """

    @checked
    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        cache: StripeCache,
        functions: Mapping[str, lambda_.Function] | None = None,
        dead_letters: Mapping[str, sqs.IQueue] | None = None,
        thresholds: Thresholds | None = None,
        object_types: Sequence[str] = DEFAULT_TYPES,
        alarm_email: str = "",
    ) -> None:
        super().__init__(scope, construct_id)
        limits = thresholds or Thresholds()
        with naming(self):
            limits.check()
            for object_type in object_types:
                check_object_type(object_type)
            if not cdk.Token.is_unresolved(alarm_email):
                check_match("alarm_email", alarm_email, EMAIL, "one e-mail address, or nothing")
        check_place(self, "cache", cache)
        self._home = cdk.Stack.of(cache).node.path
        self._metrics = CacheMetrics(stage=cache.stage)
        self._watched: set[str] = set()
        self._named: set[tuple[bool, str]] = set()
        self.topic = alarm_topic(self, alarm_email, cache.removal_policy)
        self._maker = AlarmMaker(self.topic)
        self._alarms = CacheAlarms(self._maker, limits)
        tiers = [tier for tier in names.TIERS if tier != "redis" or cache.redis]
        self._alarms.cache(self, self._metrics, [tier for tier in tiers if tier != "memory"], events=cache.has_events)
        self._alarms.table(self, cache.dynamo.table)
        rows = widgets.cache_rows(self._metrics, object_types, tiers)
        if cache.redis:
            self._alarms.redis(self, cache.redis)
            rows.append(widgets.redis_row(cache.redis))
        rows.append(widgets.table_row(cache.dynamo.table))
        self.dashboard = cloudwatch.Dashboard(
            self, "Dashboard", widgets=rows, period_override=cloudwatch.PeriodOverride.AUTO
        )
        self._rows = widgets.LiveRows(self.dashboard)
        if cache.has_events:
            self._alarms.queue(self, "Invalidations", cache.invalidation_queue.queue)
            self._rows.queue("Invalidations", cache.invalidation_queue.queue)
            self._watch_dead_letters(self, "InvalidationDeadLetters", cache.invalidation_queue.dead_letters)
        if cache.has_refreshes:
            self._alarms.queue(self, "Refreshes", cache.refresh_queue.queue)
            self._rows.queue("Refreshes", cache.refresh_queue.queue)
            self._watch_dead_letters(self, "RefreshDeadLetters", cache.refresh_queue.dead_letters)
        for name, function in (functions or {}).items():
            self.watch(function, name)
        for name, queue in (dead_letters or {}).items():
            self._watch_dead_letters(self, name, queue)
        cache.watched.tell(self.watch)

    @property
    def alarms(self) -> tuple[cloudwatch.Alarm, ...]:
        """Every alarm so far."""
        return tuple(self._maker.made)

    @checked
    def watch(self, part: Construct, name: str = "") -> None:
        """Add alarms and lines for a part; what is watched already is passed over.

        `name` is what alarms and lines are called by, else the part's path in its stack. Alarms on a part of another
        stack than the cache's are made in that stack, beside the part, unless this construct has a stack of its own:
        the part's stack needs the cache's, which therefore cannot name anything in it, on the dashboard neither. Raises
        ConstructError for what cannot be watched.
        """
        if part.node.path in self._watched:
            return
        self._watched.add(part.node.path)
        scope = self._scope_for(part)
        title = self._name(part, name)
        if isinstance(part, lambda_.Function):
            self._alarms.function(scope, title, part)
            if scope is self:
                self._rows.function(title, part)
        elif isinstance(part, WebhookEndpoint | EntitlementsEndpoint):
            self._alarms.api(scope, title, part.api, vital=isinstance(part, WebhookEndpoint))
            if scope is self:
                self._rows.api(title, part.api)
        elif isinstance(part, Reconciler):
            self._alarms.sweep(scope, title, self._metrics, part.schedule.every)
            self.watch(part.schedule, f"{title}Schedule")
        elif isinstance(part, PeriodicInvocation):
            self._watch_rule(scope, title, part)
        elif isinstance(part, EventBridgeSource):
            self._watch_rule(scope, title, part, part.bus_name)
        else:
            raise ConstructError(
                part,
                f"a {type(part).__name__} cannot be watched",
                "pass a function, an endpoint, a source or a schedule",
            )

    def _watch_rule(
        self, scope: Construct, name: str, part: PeriodicInvocation | EventBridgeSource, bus_name: str = ""
    ) -> None:
        self._alarms.rule(scope, name, part.rule, bus_name=bus_name)
        if scope is self:
            self._rows.rule(name, part.rule, bus_name)
        # Two schedules of one function share their dead letters.
        if part.dead_letters.node.path not in self._watched:
            self._watched.add(part.dead_letters.node.path)
            self._watch_dead_letters(scope, f"{name}DeadLetters", part.dead_letters)

    def _watch_dead_letters(self, scope: Construct, name: str, queue: sqs.IQueue) -> None:
        self._alarms.dead_letters(scope, name, queue)
        if scope is self:
            self._rows.dead_letters(name, queue)

    def _scope_for(self, part: Construct) -> Construct:
        here, there = cdk.Stack.of(self).node.path, cdk.Stack.of(part).node.path
        if here == there or here != self._home:
            return self
        found = part.node.try_find_child(BESIDE)
        return found if isinstance(found, Construct) else Construct(part, BESIDE)

    def _name(self, part: Construct, given: str) -> str:
        inside = part.node.path.removeprefix(f"{cdk.Stack.of(part).node.path}/").removesuffix("/Function")
        short = "".join(character for character in inside if character.isalnum())
        # A function and what it is part of share a name: their alarms differ in what follows it. The same name in two
        # stacks is told apart by the whole path.
        kind = isinstance(part, lambda_.Function)
        whole = "".join(character for character in part.node.path if character.isalnum())
        name = given or (whole if (kind, short) in self._named else short)
        self._named.add((kind, name))
        return name

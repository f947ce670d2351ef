"""Carrying a read through: the two drivers of the engine's steps, one per colour, with nothing else in them."""

from __future__ import annotations

import logging
from concurrent.futures import Future
from typing import TYPE_CHECKING

from stripe_cache.core.answer import Answer
from stripe_cache.core.cache_status import CacheStatus

log = logging.getLogger("stripe_cache")

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from stripe_cache.core.answer import Response
    from stripe_cache.core.audit import Auditor
    from stripe_cache.core.directives import Directives
    from stripe_cache.core.plan import Plan
    from stripe_cache.core.read_through import ReadThrough, Ticket

    Step = Answer | Ticket | Future[Answer | None]

PATIENCE = 120.0
"""Seconds a follower waits for its leader: longer than the SDK's longest call, so only a lost leader is given up."""


def run(
    reads: ReadThrough,
    plan: Plan,
    directives: Directives,
    origin: Callable[[], Response],
    auditor: Auditor | None = None,
) -> Answer:
    """Read, calling `origin` on this thread if this caller leads, or if its hit was drawn for an audit."""
    step = reads.begin(plan, directives, "sync")
    if isinstance(step, Answer) and auditor is not None and auditor.draws(step, directives):
        return audit(auditor, plan, step, origin)
    return follow(reads, plan, directives, origin, step)


def audit(auditor: Auditor, plan: Plan, answer: Answer, origin: Callable[[], Response]) -> Answer:
    """Compare a hit with what Stripe says; if Stripe says nothing, the hit is the answer."""
    try:
        response = origin()
    except Exception as error:  # noqa: BLE001 (whatever the transport raises: the caller has its answer already)
        log.warning("an audit could not ask Stripe: %s", type(error).__name__)
        return answer
    return auditor.check(plan, answer, response)


def follow(
    reads: ReadThrough, plan: Plan, directives: Directives, origin: Callable[[], Response], step: Step
) -> Answer:
    """Carry on from a first step that was taken already."""
    while not isinstance(step, Answer):
        if isinstance(step, Future):
            try:
                answer = step.result(PATIENCE)
            except TimeoutError:
                return _alone(origin())
            if answer is not None:
                return reads.joined(answer)
            step = reads.begin(plan, directives, "sync")
            continue
        try:
            response = origin()
        except BaseException as error:  # noqa: BLE001 (the engine raises it again, after letting the followers go)
            step = reads.fail(step, error)
        else:
            step = reads.complete(step, response)
    return step


async def run_async(
    reads: ReadThrough,
    plan: Plan,
    directives: Directives,
    origin: Callable[[], Awaitable[Response]],
    auditor: Auditor | None = None,
) -> Answer:
    """Read without blocking the event loop: tiers are asked on a thread, `origin` is awaited here."""
    import asyncio

    colour = ("async", id(asyncio.get_running_loop()))
    while True:
        step: Step = await asyncio.to_thread(reads.begin, plan, directives, colour)
        if isinstance(step, Answer):
            if auditor is None or not auditor.draws(step, directives):
                return step
            return await _audit_async(auditor, plan, step, origin)
        if isinstance(step, Future):
            try:
                answer = await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(step)), PATIENCE)
            except TimeoutError:
                return _alone(await origin())
            if answer is not None:
                return reads.joined(answer)
            continue
        try:
            response = await origin()
        except Exception as error:  # noqa: BLE001 (the engine raises it again)
            return await asyncio.to_thread(reads.fail, step, error)
        except BaseException as error:
            # Cancelled: nothing may be awaited any more, and the engine asks no tier for this kind of error.
            reads.fail(step, error)
            raise
        return await asyncio.to_thread(reads.complete, step, response)


async def _audit_async(
    auditor: Auditor, plan: Plan, answer: Answer, origin: Callable[[], Awaitable[Response]]
) -> Answer:
    import asyncio

    try:
        response = await origin()
    except Exception as error:  # noqa: BLE001 (as in `audit`)
        log.warning("an audit could not ask Stripe: %s", type(error).__name__)
        return answer
    return await asyncio.to_thread(auditor.check, plan, answer, response)


def _alone(response: Response) -> Answer:
    return Answer.from_response(response, CacheStatus(fwd="bypass", detail="leader-lost"))

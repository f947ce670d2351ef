"""Carrying a read through: the two drivers of the engine's steps, one per colour, with nothing else in them."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING

from stripe_cache.core.answer import Answer
from stripe_cache.core.cache_status import CacheStatus

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from stripe_cache.core.answer import Response
    from stripe_cache.core.directives import Directives
    from stripe_cache.core.plan import Plan
    from stripe_cache.core.read_through import ReadThrough, Ticket

    Step = Answer | Ticket | Future[Answer | None]

PATIENCE = 120.0
"""Seconds a follower waits for its leader: longer than the SDK's longest call, so only a lost leader is given up."""


def run(reads: ReadThrough, plan: Plan, directives: Directives, origin: Callable[[], Response]) -> Answer:
    """Read, calling `origin` on this thread if this caller leads."""
    return follow(reads, plan, directives, origin, reads.begin(plan, directives, "sync"))


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
    reads: ReadThrough, plan: Plan, directives: Directives, origin: Callable[[], Awaitable[Response]]
) -> Answer:
    """Read without blocking the event loop: tiers are asked on a thread, `origin` is awaited here."""
    import asyncio

    colour = ("async", id(asyncio.get_running_loop()))
    while True:
        step: Step = await asyncio.to_thread(reads.begin, plan, directives, colour)
        if isinstance(step, Answer):
            return step
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


def _alone(response: Response) -> Answer:
    return Answer.from_response(response, CacheStatus(fwd="bypass", detail="leader-lost"))

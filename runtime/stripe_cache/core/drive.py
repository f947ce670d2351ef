"""Carrying a read through: the two drivers of the engine's steps, one per colour, with nothing else in them."""

from __future__ import annotations

import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from stripe_cache.core.answer import Answer
from stripe_cache.core.cache_status import CacheStatus
from stripe_cache.core.read_through import Pause, Ticket

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from stripe_cache.core.answer import Response
    from stripe_cache.core.directives import Directives
    from stripe_cache.core.plan import Plan
    from stripe_cache.core.read_through import ReadThrough

    Step = Answer | Ticket | Pause | Future[Answer | None]

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
            step = reads.joined(answer) if answer is not None else reads.begin(plan, directives, "sync")
            continue
        ticket = step.ticket if isinstance(step, Pause) else step
        try:
            if isinstance(step, Pause):
                time.sleep(step.seconds)
                step = reads.resume(step)
                continue
            response = origin()
        except Exception as error:  # noqa: BLE001 (the engine raises it again, unless a stale entry may answer)
            step = reads.fail(ticket, error)
        except BaseException:
            reads.abandon(ticket)
            raise
        else:
            step = reads.complete(ticket, response)
    return step


async def run_async(
    reads: ReadThrough, plan: Plan, directives: Directives, origin: Callable[[], Awaitable[Response]]
) -> Answer:
    """Read without blocking the event loop: tiers are asked on a thread, `origin` is awaited here."""
    import asyncio

    colour = ("async", id(asyncio.get_running_loop()))
    step: Step = await _on_thread(reads, reads.begin, plan, directives, colour)
    while not isinstance(step, Answer):
        if isinstance(step, Future):
            try:
                answer = await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(step)), PATIENCE)
            except TimeoutError:
                return _alone(await origin())
            if answer is not None:
                return reads.joined(answer)
            step = await _on_thread(reads, reads.begin, plan, directives, colour)
            continue
        ticket = step.ticket if isinstance(step, Pause) else step
        try:
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
                step = await _on_thread(reads, reads.resume, step)
                continue
            response = await origin()
        except Exception as error:  # noqa: BLE001 (the engine raises it again, unless a stale entry may answer)
            step = await _on_thread(reads, reads.fail, ticket, error)
        except BaseException:
            reads.abandon(ticket)
            raise
        else:
            step = await _on_thread(reads, reads.complete, ticket, response)
    return step


async def _on_thread(reads: ReadThrough, function: Callable[..., Step], *arguments: Any) -> Step:
    """Run a step of the engine on a thread; if the caller is cancelled meanwhile, let its followers go."""
    import asyncio

    running = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        # The thread cannot be stopped. If it comes back with a duty, nobody is left to do it, and whoever joined that
        # flight would wait for minutes.
        running.add_done_callback(lambda done: _relieve(reads, done))
        raise


def _relieve(reads: ReadThrough, done: Future[Step] | Any) -> None:
    if done.cancelled() or done.exception() is not None:
        return
    step = done.result()
    if isinstance(step, Ticket | Pause):
        reads.abandon(step.ticket if isinstance(step, Pause) else step)


def _alone(response: Response) -> Answer:
    return Answer.from_response(response, CacheStatus(fwd="bypass", detail="leader-lost"))

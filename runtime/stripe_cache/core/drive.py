"""Carrying a read through: the two drivers of the engine's steps, one per colour, with nothing else in them."""

from __future__ import annotations

import logging
import time
from concurrent.futures import Future
from contextvars import copy_context
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from stripe_cache.core.answer import Answer
from stripe_cache.core.cache_status import CacheStatus
from stripe_cache.core.read_through import Pause, Ticket

log = logging.getLogger("stripe_cache")

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from stripe_cache.core.answer import Response
    from stripe_cache.core.audit import Auditor
    from stripe_cache.core.directives import Directives
    from stripe_cache.core.plan import Plan
    from stripe_cache.core.read_through import ReadThrough

    Step = Answer | Ticket | Pause | Future[Answer | None]

Result = TypeVar("Result")

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
            reads.release(ticket)
            raise
        else:
            step = reads.complete(ticket, response)
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
    step: Step = await _take(reads, reads.begin, plan, directives, colour)
    if isinstance(step, Answer) and auditor is not None and auditor.draws(step, directives):
        return await _audit_async(auditor, plan, step, origin)
    while not isinstance(step, Answer):
        if isinstance(step, Future):
            try:
                answer = await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(step)), PATIENCE)
            except TimeoutError:
                return _alone(await origin())
            if answer is not None:
                return reads.joined(answer)
            step = await _take(reads, reads.begin, plan, directives, colour)
            continue
        ticket = step.ticket if isinstance(step, Pause) else step
        try:
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
                step = await _take(reads, reads.resume, step)
                continue
            response = await origin()
        except Exception as error:  # noqa: BLE001 (the engine raises it again, unless a stale entry may answer)
            return await on_thread(reads.fail, ticket, error)
        except BaseException:
            # Cancelled: nothing may be awaited any more, and nothing was learnt about the origin. Other processes wait
            # for the claim, which is given up behind this caller's back.
            reads.abandon(ticket)
            asyncio.get_running_loop().run_in_executor(None, reads.release, ticket)
            raise
        return await on_thread(reads.complete, ticket, response)
    return step


async def on_thread(work: Callable[..., Result], *args: Any) -> Result:
    """Do blocking work on a thread, surely: a caller that is cancelled leaves, and the work is done all the same.

    `asyncio.to_thread` would take work that still waits for a free thread out of the queue again.
    """
    import asyncio

    inside = partial(copy_context().run, work, *args)
    return await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, inside))


async def _take(reads: ReadThrough, function: Callable[..., Step], *args: Any) -> Step:
    import asyncio

    taking = _Taking(reads, partial(function, *args))
    try:
        return await on_thread(taking.take)
    except asyncio.CancelledError:
        taking.abandon()
        raise


class _Taking:
    """A step that is taken on a thread while the caller may be cancelled.

    Were nobody told, a ticket taken after the cancellation would be a flight that never lands: everybody who asks the
    same later would wait for it in vain.
    """

    def __init__(self, reads: ReadThrough, function: Callable[[], Step]) -> None:
        self._reads = reads
        self._function = function
        self._lock = Lock()
        self._taken: Step | None = None
        self._abandoned = False

    def take(self) -> Step:
        """Take the step; runs on the thread."""
        step = self._function()
        with self._lock:
            self._taken = step
            abandoned = self._abandoned
        if abandoned:
            self._release(step)
        return step

    def abandon(self) -> None:
        """Say that nobody will follow the step up, taken or not yet; runs on the event loop and never waits long."""
        with self._lock:
            self._abandoned = True
            step = self._taken
        self._release(step)

    def _release(self, step: Step | None) -> None:
        if isinstance(step, Ticket | Pause):
            self._reads.abandon(step.ticket if isinstance(step, Pause) else step)


async def _audit_async(
    auditor: Auditor, plan: Plan, answer: Answer, origin: Callable[[], Awaitable[Response]]
) -> Answer:
    try:
        response = await origin()
    except Exception as error:  # noqa: BLE001 (as in `audit`)
        log.warning("an audit could not ask Stripe: %s", type(error).__name__)
        return answer
    return await on_thread(auditor.check, plan, answer, response)


def _alone(response: Response) -> Answer:
    return Answer.from_response(response, CacheStatus(fwd="bypass", detail="leader-lost"))

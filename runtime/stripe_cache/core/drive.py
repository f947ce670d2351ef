"""Carrying a read through: the two drivers of the engine's steps, one per colour, with nothing else in them."""

from __future__ import annotations

import logging
import time
from concurrent.futures import Future, wait
from contextvars import copy_context
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from stripe_cache.core.answer import Answer
from stripe_cache.core.cache_status import CacheStatus
from stripe_cache.core.steps import Followed, Pause, Queued, Ticket

log = logging.getLogger("stripe_cache")

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from stripe_cache.core.answer import Response
    from stripe_cache.core.audit import Auditor
    from stripe_cache.core.directives import Directives
    from stripe_cache.core.plan import Plan
    from stripe_cache.core.read_through import ReadThrough
    from stripe_cache.core.steps import Step

    Occasion = Ticket | Answer | None

Result = TypeVar("Result")
Taken = TypeVar("Taken", bound="Step")

PATIENCE = 120.0
"""Seconds a follower waits for its leader: longer than the SDK's longest call, so only a lost leader is given up.

Less if its invocation ends before.
"""


def run(
    reads: ReadThrough,
    plan: Plan,
    directives: Directives,
    origin: Callable[[Occasion], Response],
    auditor: Auditor | None = None,
) -> Answer:
    """Read, calling `origin` on this thread if this caller leads, or if its hit was drawn for an audit.

    `origin` is told the occasion: a ticket, the hit to audit, or None for a call outside of every flight.
    """
    step = reads.begin(plan, directives, "sync")
    if isinstance(step, Answer) and auditor is not None and auditor.draws(step, directives):
        return audit(auditor, plan, step, origin)
    return step if isinstance(step, Answer) else follow(reads, plan, directives, origin, step)


def audit(auditor: Auditor, plan: Plan, answer: Answer, origin: Callable[[Occasion], Response]) -> Answer:
    """Compare a hit with what Stripe says; if Stripe says nothing, the hit is the answer."""
    try:
        response = origin(answer)
    except Exception as error:  # noqa: BLE001 (whatever the transport raises: the caller has its answer already)
        log.warning("an audit could not ask Stripe: %s", type(error).__name__)
        return answer
    return auditor.check(plan, answer, response)


def has_spare(occasion: Occasion) -> bool:
    """Tell whether an answer is at hand in case the origin is busy: then nobody need wait for a turn."""
    return isinstance(occasion, Answer) or (occasion is not None and bool(occasion.miss.stale))


def follow(
    reads: ReadThrough, plan: Plan, directives: Directives, origin: Callable[[Occasion], Response], step: Step
) -> Answer:
    """Carry on from a first step that was taken already."""
    begin = partial(reads.begin, plan, directives, "sync", reads.waits_until())
    rounds = 0
    while not isinstance(step, Answer):
        if step is None:
            rounds += 1
            _rest(reads.claims.rest(rounds))
            step = begin()
            continue
        if isinstance(step, Followed | Future):
            step = _landed(reads, plan, step, origin)
            continue
        ticket = step if isinstance(step, Ticket) else step.ticket
        try:
            if isinstance(step, Pause):
                time.sleep(step.seconds)
                step = reads.resume(step)
                continue
            if isinstance(step, Queued):
                wait([step.ahead], step.seconds)
                step = reads.depart(ticket)
                continue
            response = origin(ticket)
        except Exception as error:  # noqa: BLE001 (the engine raises it again, unless a stale entry may answer)
            step = reads.fail(ticket, error)
        except BaseException:
            reads.abandon(ticket)
            reads.release(ticket)
            raise
        else:
            step = reads.complete(ticket, response)
    return step


def _landed(
    reads: ReadThrough,
    plan: Plan,
    step: Followed | Future[Answer | None],
    origin: Callable[[Occasion], Response],
) -> Step:
    if isinstance(step, Followed):
        return step.flight if wait([step.flight], step.seconds).done else reads.instead(step.ticket) or step.flight
    if not wait([step], min(PATIENCE, reads.claims.spare())).done:
        return _alone(reads, plan, origin(None))
    return _joined(reads, plan, step)


def _rest(seconds: float) -> None:
    if seconds:
        time.sleep(seconds)


async def run_async(
    reads: ReadThrough,
    plan: Plan,
    directives: Directives,
    origin: Callable[[Occasion], Awaitable[Response]],
    auditor: Auditor | None = None,
) -> Answer:
    """Read without blocking the event loop: tiers are asked on a thread, `origin` is awaited here."""
    import asyncio

    colour = ("async", id(asyncio.get_running_loop()))
    step: Step = await _take(reads, reads.begin, plan, directives, colour)
    if isinstance(step, Answer) and auditor is not None and auditor.draws(step, directives):
        return await _audit_async(auditor, plan, step, origin)
    begin = partial(_take, reads, reads.begin, plan, directives, colour, reads.waits_until())
    rounds = 0
    while not isinstance(step, Answer):
        if step is None:
            rounds += 1
            await asyncio.sleep(reads.claims.rest(rounds))
            step = await begin()
            continue
        if isinstance(step, Followed | Future):
            step = await _landed_async(reads, plan, step, origin)
            continue
        ticket = step if isinstance(step, Ticket) else step.ticket
        try:
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
                step = await _take(reads, reads.resume, step)
                continue
            if isinstance(step, Queued):
                await _settled(step.ahead, step.seconds)
                step = await _take(reads, reads.depart, ticket)
                continue
            response = await origin(ticket)
        except Exception as error:  # noqa: BLE001 (the engine raises it again, unless a stale entry may answer)
            step = await on_thread(reads.fail, ticket, error)
            continue
        except BaseException:
            # Cancelled: nothing may be awaited any more, and nothing was learnt about the origin. Other processes wait
            # for the claim, which is given up behind this caller's back.
            reads.abandon(ticket)
            asyncio.get_running_loop().run_in_executor(None, reads.release, ticket)
            raise
        return await on_thread(reads.complete, ticket, response)
    return step


async def _landed_async(
    reads: ReadThrough,
    plan: Plan,
    step: Followed | Future[Answer | None],
    origin: Callable[[Occasion], Awaitable[Response]],
) -> Step:
    if isinstance(step, Followed):
        has_landed = await _settled(step.flight, step.seconds)
        return step.flight if has_landed else await _take(reads, reads.instead, step.ticket) or step.flight
    if not await _settled(step, min(PATIENCE, reads.claims.spare())):
        return _alone(reads, plan, await origin(None))
    return _joined(reads, plan, step)


async def _settled(flight: Future[Answer | None], seconds: float) -> bool:
    """Wait until a flight has landed, however; False if it has not in time."""
    import asyncio

    waiting = asyncio.wrap_future(flight)
    # Somebody else's failure, as long as nobody here asks for it.
    waiting.add_done_callback(lambda landed: landed.cancelled() or landed.exception())
    done, _ = await asyncio.wait([waiting], timeout=seconds)
    return bool(done)


async def on_thread(work: Callable[..., Result], *args: Any) -> Result:
    """Do blocking work on a thread, surely: a caller that is cancelled leaves, and the work is done all the same.

    `asyncio.to_thread` would take work that still waits for a free thread out of the queue again.
    """
    import asyncio

    inside = partial(copy_context().run, work, *args)
    return await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, inside))


async def _take(reads: ReadThrough, function: Callable[..., Taken], *args: Any) -> Taken:
    import asyncio

    taking = _Taking(reads, partial(function, *args))
    try:
        return await on_thread(taking.take)
    except asyncio.CancelledError:
        taking.abandon()
        raise


class _Taking(Generic[Taken]):
    """A step that is taken on a thread while the caller may be cancelled.

    Were nobody told, a ticket taken after the cancellation would be a flight that never lands: everybody who asks the
    same later would wait for it in vain.
    """

    def __init__(self, reads: ReadThrough, function: Callable[[], Taken]) -> None:
        self._reads = reads
        self._function = function
        self._lock = Lock()
        self._taken: Taken | None = None
        self._abandoned = False

    def take(self) -> Taken:
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
        if isinstance(step, Ticket | Pause | Queued):
            self._reads.abandon(step if isinstance(step, Ticket) else step.ticket)


async def _audit_async(
    auditor: Auditor, plan: Plan, answer: Answer, origin: Callable[[Occasion], Awaitable[Response]]
) -> Answer:
    try:
        response = await origin(answer)
    except Exception as error:  # noqa: BLE001 (as in `audit`)
        log.warning("an audit could not ask Stripe: %s", type(error).__name__)
        return answer
    return await on_thread(auditor.check, plan, answer, response)


def _joined(reads: ReadThrough, plan: Plan, landed: Future[Answer | None]) -> Answer | None:
    try:
        answer = landed.result()
    except Exception:
        reads.missed(plan)
        raise
    return reads.follow(plan, answer) if answer is not None else None


def _alone(reads: ReadThrough, plan: Plan, response: Response) -> Answer:
    reads.missed(plan)
    return Answer.from_response(response, CacheStatus(fwd="bypass", detail="leader-lost"))

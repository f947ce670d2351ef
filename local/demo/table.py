"""The report as text: one table, with and without the cache side by side, and the verdict."""

from __future__ import annotations

from typing import Any

from local.demo.progress import columns, milliseconds, percent

Report = dict[str, Any]


def problems(report: Report) -> list[str]:
    """Return what makes the run a failure, in sentences: none if every answer with the cache was right."""
    cached = report["halves"]["with cache"]
    warm_up = report["warm_up"]
    found = []
    if cached.get("stale_answers"):
        found.append(
            f"{cached['stale_answers']} stale answers with the cache: {'; '.join(report['truth']['examples'])}"
        )
    if cached["errors"] or warm_up["errors"]:
        kinds = {**warm_up["errors_by_kind"], **cached["errors_by_kind"]}
        found.append(f"{cached['errors'] + warm_up['errors']} errors with the cache: {', '.join(sorted(kinds))}")
        if "no turn" in kinds:
            found[-1] += " (all sandboxes were busy: give more WORKERS, or a lower RPS for this machine)"
    if cached.get("differing_answers"):
        found.append(
            f"{cached['differing_answers']} answers differ from Stripe's (without webhooks, a change made in the last "
            f"minutes would explain it): {'; '.join(report['truth']['examples'])}"
        )
    return found


def table(report: Report) -> str:
    """Lay the figures out for a terminal."""
    parts = [columns([("", "with cache", "without"), *comparison(report)]), "", columns(_hits(report["cache"]))]
    if "webhooks" in report:
        parts += ["", *_truth_lines(report)]
    return "\n".join(parts)


def comparison(report: Report) -> list[tuple[str, str, str]]:
    """Return the rows that put both halves side by side: a label and two texts each."""
    one, other = report["halves"]["with cache"], report["halves"]["without"]
    return [
        *((label, f"{one[key]:,}", f"{other[key]:,}") for label, key in _COUNTS if key in one),
        *((label, milliseconds(one[key]), milliseconds(other[key])) for label, key in _TIMES),
        ("hit ratio over object reads", percent(report["cache"]["hit_ratio"]), "-"),
    ]


_COUNTS = (
    ("requests", "requests"),
    ("errors", "errors"),
    ("stale answers", "stale_answers"),
    ("answers that differ from Stripe's", "differing_answers"),
    ("calls to Stripe", "stripe_calls"),
    ("refused by Stripe (429)", "stripe_429"),
    ("sandboxes busy on average", "busy_sandboxes"),
)
_TIMES = (("latency p50", "p50_ms"), ("latency p95", "p95_ms"), ("latency p99", "p99_ms"))


def _hits(cache: dict[str, Any]) -> list[tuple[str, str, str]]:
    hits = cache["hits"]
    rows = [("hits by tier", "hits", "share")]
    rows += [
        (f"  {tier}", f"{count:,}", percent(count / hits if hits else None)) for tier, count in cache["by_tier"].items()
    ]
    rows += [("hits by object type", "hits", "of reads")]
    for name, found in cache["by_object_type"].items():
        rows.append((f"  {name}", f"{found['hits']:,} of {found['reads']:,}", percent(found["hit_ratio"])))
    return rows


def _truth_lines(report: Report) -> list[str]:
    webhooks, reads, warm_up = report["webhooks"], report["truth"]["reads"], report["warm_up"]
    changes = ", ".join(f"{count} {kind}" for kind, count in sorted(report["changes"].items()))
    lag = report["truth"]["memory_max_lag_s"]
    told = f"{webhooks['acknowledged']} of {webhooks['events']} acknowledged, in {webhooks['attempts']} deliveries"
    delay = milliseconds(webhooks["p95_ms_from_change_to_acknowledgement"])
    current = f"{reads.get('fresh', 0):,} current, {reads.get('awaiting webhook', 0)} with the webhook still under way"
    wrong = f"{reads.get('stale', 0)} stale after an acknowledged webhook, {reads.get('never true', 0)} never true"
    early = (
        f"{warm_up['requests']} requests before measuring: {warm_up['errors']} errors, {warm_up['stripe_429']} refused"
    )
    lines = [
        f"  webhooks  {told}; p95 {delay} from change to acknowledgement",
        f"  changes   {sum(report['changes'].values())} ({changes}); Redis lost {report['evicted_from_redis']} records",
        f"  checked   {sum(reads.values()):,} reads against Stripe's history: {current},",
        f"            {reads.get('within memory lag', 0)} from memory within its {lag:g} s lag, {wrong}",
        f"  warm-up   {early}; staleness was checked there too",
    ]
    return lines + [f"            {example}" for example in report["truth"]["examples"]]

"""The report as one plain page: no script, nothing from elsewhere, readable in the light and in the dark."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from local.demo.charts import Axis, Line, chart, latency_axis, percent_axis
from local.demo.progress import percent
from local.demo.table import comparison

if TYPE_CHECKING:
    from collections.abc import Sequence

WITH, WITHOUT = "with cache", "without"
_STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1c2430; --soft: #5d6877; --rule: #dde2e9; --warm: #f3f5f8;
  --with: #0b62d6; --without: #b4480a; --good: #0a7a3b; --bad: #c0192b; }
@media (prefers-color-scheme: dark) { :root { --paper: #11161d; --ink: #e6eaf0; --soft: #98a3b3; --rule: #2b3441;
  --warm: #192029; --with: #68a8ff; --without: #f79a5e; --good: #4cc784; --bad: #ff7b86; } }
body { margin: 0 auto; max-width: 880px; padding: 28px 16px 48px; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, "DejaVu Sans", sans-serif; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 18px; margin: 34px 0 6px; }
p { margin: 6px 0; } .soft { color: var(--soft); font-size: 14px; }
.good { color: var(--good); } .bad { color: var(--bad); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; min-width: min(420px, 100%); }
th, td { padding: 5px 18px 5px 0; border-bottom: 1px solid var(--rule); text-align: right; font-weight: normal; }
th:first-child, td:first-child { text-align: left; } thead th { color: var(--soft); font-size: 14px; }
thead th.with { color: var(--with); } thead th.without { color: var(--without); }
.pair { display: flex; flex-wrap: wrap; gap: 0 48px; } .pair table { min-width: 300px; }
svg { width: 100%; height: auto; display: block; } .grid { stroke: var(--rule); } .warm { fill: var(--warm); }
@media (max-width: 500px) { th, td { padding-right: 9px; font-size: 14px; }
  .pair table { min-width: 100%; } }
.tick, .note, .label { font-size: 12px; fill: var(--soft); } .label { font-weight: 600; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; }
.with { stroke: var(--with); } .without { stroke: var(--without); }
.thin { stroke-width: 1.5; stroke-dasharray: 5 3; } th.with, th.without, .label { stroke: none; }
.label.with { fill: var(--with); } .label.without { fill: var(--without); }
"""


def render(report: dict[str, Any]) -> str:
    """Return the page; `report` is what demo-report.json holds."""
    settings = report["settings"]
    verdict = report["verdict"]
    said = (
        '<p class="good">No error and no stale answer with the cache.</p>'
        if verdict["passed"]
        else "".join(f'<p class="bad">{escape(problem)}</p>' for problem in verdict["problems"])
    )
    conditions = (
        f"{escape(report['mode'])}: {settings['rps']:g} requests/s to each half for {settings['seconds']} s after "
        f"{settings['warm_up_seconds']:g} s of warm-up, {settings['customers']} customers, at most "
        f"{settings['workers']} sandboxes each, both at the same time on one machine."
    )
    body = [
        "<h1>stripe-cache: with and without</h1>",
        said,
        f'<p class="soft">{conditions}</p>',
        "<h2>What callers and Stripe saw</h2>",
        _table(("", WITH, WITHOUT), comparison(report), ("", "with", "without")),
        "<h2>Latency of the handler, by when a request was due</h2>",
        _latency(report),
        '<p class="soft">Answered requests, on a logarithmic scale. Waiting for a sandbox counts.</p>',
        "<h2>Share of Stripe reads answered by the cache</h2>",
        _hit_ratio(report),
        '<div class="pair">',
        f"<div><h2>Hits by tier</h2>{_table(('tier', 'hits', 'share'), _tiers(report['cache']))}</div>",
        f"<div><h2>Hits by object type</h2>{_table(('type', 'hits', 'reads', 'share'), _types(report['cache']))}</div>",
        "</div>",
        *_checked(report),
    ]
    title = f"stripe-cache demo: {percent(report['cache']['hit_ratio'])} hits"
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    return f'<!doctype html>\n<html lang="en">\n<head>{head}<style>{_STYLE}</style></head>\n<body>\n' + "\n".join(
        [*body, "</body>\n</html>\n"]
    )


def _latency(report: dict[str, Any]) -> str:
    lines = [
        Line(
            f"{name} {key.removesuffix('_ms')}",
            f"{style}{' thin' if key == 'p95_ms' else ''}",
            _values(report, name, key),
        )
        for name, style in ((WITHOUT, "without"), (WITH, "with"))
        for key in ("p95_ms", "p50_ms")
    ]
    return _drawn("Latency of the handler over time", lines, latency_axis(lines), report)


def _hit_ratio(report: dict[str, Any]) -> str:
    lines = [Line(WITH, "with", _values(report, WITH, "hit_ratio"))]
    return _drawn("Hit ratio over time", lines, percent_axis(), report)


def _drawn(title: str, lines: Sequence[Line], axis: Axis, report: dict[str, Any]) -> str:
    return chart(title, lines, axis, report["settings"]["warm_up_seconds"])


def _values(report: dict[str, Any], half: str, key: str) -> list[float | None]:
    return [row[key] for row in report["series"][half]]


def _tiers(cache: dict[str, Any]) -> list[tuple[str, ...]]:
    hits = cache["hits"]
    return [(tier, f"{count:,}", percent(count / hits if hits else None)) for tier, count in cache["by_tier"].items()]


def _types(cache: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (name, f"{found['hits']:,}", f"{found['reads']:,}", percent(found["hit_ratio"]))
        for name, found in cache["by_object_type"].items()
    ]


def _checked(report: dict[str, Any]) -> list[str]:
    if "webhooks" not in report:
        return []
    truth, webhooks = report["truth"], report["webhooks"]
    rows = [
        ("current when the handler began, or later", f"{truth['reads'].get('fresh', 0):,}"),
        ("changed, the webhook still under way", f"{truth['reads'].get('awaiting webhook', 0):,}"),
        (
            f"from memory, within its lag of {truth['memory_max_lag_s']:g} s",
            f"{truth['reads'].get('within memory lag', 0):,}",
        ),
        ("stale after an acknowledged webhook", f"{truth['reads'].get('stale', 0):,}"),
        ("never true at all", f"{truth['reads'].get('never true', 0):,}"),
    ]
    changes = sum(report["changes"].values())
    told = (
        f"{changes} changes caused {webhooks['events']} events; {webhooks['acknowledged']} "
        f"were acknowledged in {webhooks['attempts']} signed deliveries, some of them delayed, doubled or out of "
        f"order. The warm-up is included here. Redis lost {report['evicted_from_redis']} records meanwhile."
    )
    head = ("what an answer with the cache showed was", "reads")
    title = "<h2>Every read, held against Stripe's own history</h2>"
    return [title, _table(head, rows), f'<p class="soft">{told}</p>']


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[str] = ()) -> str:
    styled = styles or ("",) * len(head)
    titles = "".join(f'<th class="{style}">{escape(name)}</th>' for name, style in zip(head, styled, strict=True))
    lines = ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    return f'<div class="scroll"><table><thead><tr>{titles}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'

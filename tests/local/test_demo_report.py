"""Figures, charts and texts of the report, from made-up samples."""

from __future__ import annotations

import copy
import io
import re
import xml.etree.ElementTree as ET
from itertools import pairwise
from typing import Any

import pytest

from local.demo import charts, figures, page, table
from local.demo.progress import Progress, columns, milliseconds, percent
from local.demo.traffic import Sample

HIT, MISS = "stripe-cache; hit; ttl=9; detail=redis", "stripe-cache; fwd=uri-miss; stored"


def sample(due: float, latency: float, *, status: int = 200, cache: tuple[str, ...] = ()) -> Sample:
    return Sample("cus_1", due, due, due + latency, status, {}, cache)


def document(at: float, names: dict[str, Any], **dimensions: str) -> dict[str, Any]:
    metrics = [{"Name": name, "Unit": "Milliseconds" if name.endswith("Latency") else "Count"} for name in names]
    return {"_aws": {"Timestamp": at * 1000, "CloudWatchMetrics": [{"Metrics": metrics}]}, **dimensions, **names}


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 0.5, None), ([7.0], 0.99, 7.0), ([3.0, 1.0, 2.0], 0.5, 2.0), ([float(n) for n in range(1, 101)], 0.95, 95.0)],
)
def test_a_percentile_is_the_smallest_value_that_covers_its_share(
    values: list[float], share: float, expected: float | None
) -> None:
    assert figures.percentile(values, share) == expected


def test_metrics_are_summed_by_dimension_from_the_given_moment_on() -> None:
    documents = [
        document(99.0, {"Hit": [5.0]}),
        document(100.0, {"Hit": [2.0, 1.0], "Miss": 1.0, "ReadLatency": [12.0]}),
        document(101.0, {"Hit": [3.0], "Miss": [1.0], "TierError": [2.0]}, tier="redis"),
        document(101.0, {"Hit": [2.0], "Miss": [1.0]}, object_type="price"),
        document(101.0, {"Hit": [1.0]}, object_type="customer"),
    ]
    found = figures.cache_figures(figures.metrics_from(documents, 100.0))
    assert (found["hits"], found["reads"], found["hit_ratio"]) == (3, 4, 0.75)
    assert found["by_tier"] == {"memory": 0, "redis": 3, "dynamodb": 0}
    assert found["tier_errors"] == {"memory": 0, "redis": 2, "dynamodb": 0}
    assert found["by_object_type"]["price"] == {"hits": 2, "reads": 3, "hit_ratio": 0.6667}


def test_refusals_and_unserved_requests_are_errors_and_have_no_latency() -> None:
    found = figures.half_figures([sample(0, 0.3), sample(0, 0.001, status=429)], unserved=2)
    assert (found["requests"], found["errors"], found["p50_ms"]) == (4, 3, pytest.approx(300))
    assert found["errors_by_kind"] == {"HTTP 429": 1, "no turn": 2}


def test_busy_sandboxes_are_counted_within_the_measured_seconds_only() -> None:
    samples = [sample(8.0, 4.0), sample(10.0, 1.0), sample(19.0, 5.0), sample(30.0, 9.0)]
    assert figures.concurrency(samples, 10.0, 10.0) == pytest.approx(0.4)


def test_a_series_has_one_row_per_second_by_when_requests_were_due() -> None:
    rows = figures.series([sample(10.2, 5, cache=(HIT, MISS)), sample(12.9, 1, cache=(HIT,))], 10.0, 3.0)
    assert [(row["requests"], row["hit_ratio"]) for row in rows] == [(1, 0.5), (0, None), (1, 1.0)]


def parsed(drawing: str) -> ET.Element:
    return ET.fromstring(drawing)  # noqa: S314 -- what we have just drawn ourselves


REPORT: dict[str, Any] = {
    "mode": "fake Stripe",
    "settings": {"seconds": 3, "workers": 2, "rps": 5, "warm_up_seconds": 1.0, "customers": 4},
    "halves": {
        name: {
            **figures.half_figures([sample(0, 0.01), sample(1, 0.02)], 0),
            "stripe_calls": calls,
            "stripe_429": 0,
            "stale_answers": 0,
            "busy_sandboxes": 1.5,
        }
        for name, calls in (("with cache", 12), ("without", 3456))
    },
    "cache": figures.cache_figures(figures.metrics_from([document(1.0, {"Hit": [9.0], "Miss": [1.0]})], 0)),
    "truth": {"reads": {"fresh": 20, "stale": 0}, "answers": {}, "examples": [], "memory_max_lag_s": 1.0},
    "webhooks": {"events": 2, "acknowledged": 2, "attempts": 3, "p95_ms_from_change_to_acknowledgement": 42.0},
    "changes": {"customer": 2},
    "evicted_from_redis": 1,
    "warm_up": {**figures.half_figures([sample(0, 0.01)], 0), "stripe_429": 0},
    "series": {
        "with cache": figures.series([sample(0, 0.01, cache=(HIT,)), sample(2, 0.02, cache=(MISS,))], 0, 4),
        "without": figures.series([sample(0, 0.5), sample(1, 12.0)], 0, 4),
    },
    "verdict": {"passed": False, "problems": ["1 stale answer <with> & without"]},
}


def test_the_table_puts_both_halves_side_by_side() -> None:
    text = table.table(REPORT)
    assert re.search(r"calls to Stripe +12 +3,456\n", text)
    assert re.search(r"hit ratio over object reads +90\.0 % +-\n", text)
    assert "0 stale after an acknowledged webhook" in text


@pytest.mark.parametrize(
    ("half", "key", "value", "sentence"),
    [
        ("with cache", "stale_answers", 1, "1 stale answers"),
        ("with cache", "errors", 2, "2 errors with the cache"),
        ("with cache", "differing_answers", 1, "1 answers differ"),
    ],
)
def test_whatever_is_wrong_with_the_cache_fails_the_run(half: str, key: str, value: int, sentence: str) -> None:
    report = copy.deepcopy(REPORT)
    assert table.problems(report) == []
    report["halves"][half][key] = value
    (problem,) = table.problems(report)
    assert problem.startswith(sentence)


def test_errors_of_the_warm_up_fail_the_run_and_those_without_the_cache_do_not() -> None:
    report = copy.deepcopy(REPORT)
    report["halves"]["without"] |= {"errors": 9, "stale_answers": 1}
    assert table.problems(report) == []
    report["warm_up"]["errors"] = 1
    assert len(table.problems(report)) == 1


def test_the_page_is_self_contained_and_its_charts_are_well_formed() -> None:
    html = page.render(REPORT)
    drawings = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert len(drawings) == 2
    for drawing in drawings:
        root = parsed(drawing)
        assert [path for path in root.iter("path") if path.get("d")]
    assert "<script" not in html
    assert not re.search(r"(src|href)=|url\(|@import|https?:", html)
    assert "prefers-color-scheme: dark" in html
    assert "1 stale answer &lt;with&gt; &amp; without" in html


def test_a_second_without_a_value_leaves_a_gap() -> None:
    line = charts.Line("hits", "with", [0.5, None, 1.0, 0.25])
    drawing = parsed(charts.chart("t", [line], charts.percent_axis(), 0))
    (path,) = drawing.iter("path")
    assert [command[0] for command in re.findall(r"[ML][^ML]*", path.get("d") or "")] == ["M", "M", "L"]


def test_labels_of_lines_that_end_together_do_not_overlap() -> None:
    lines = [charts.Line(name, "with", [100.0]) for name in ("a", "b", "c")]
    drawing = parsed(charts.chart("t", lines, charts.latency_axis(lines), 0))
    heights = sorted(float(text.get("y") or 0) for text in drawing.iter("text") if "label" in (text.get("class") or ""))
    assert len(heights) == 3
    assert all(later - earlier >= 14 for earlier, later in pairwise(heights))


def test_a_chart_of_nothing_is_still_a_chart() -> None:
    empty = [charts.Line("a", "with", [None, None])]
    assert parsed(charts.chart("t", empty, charts.latency_axis(empty), 1.0)).tag == "svg"


def test_durations_shares_and_columns_read_well() -> None:
    assert [milliseconds(value) for value in (None, 0.42, 42.4, 1234.0, 12_345.0)] == [
        "-",
        "0.4 ms",
        "42 ms",
        "1,234 ms",
        "12.3 s",
    ]
    assert (percent(None), percent(0.9876)) == ("-", "98.8 %")
    assert columns([("a", "1"), ("bcd", "23")]) == "  a      1\n  bcd   23"


def test_progress_is_plain_lines_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    progress = Progress(stream)
    for second in range(8):
        progress.live(f"at {second}", float(second))
    progress.say("done")
    assert stream.getvalue() == "at 0\nat 5\ndone\n"


def test_progress_rewrites_one_line_in_a_terminal() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    progress = Progress(stream)
    progress.live("a long line", 0.0)
    progress.live("short", 1.0)
    progress.say("done")
    assert stream.getvalue() == "\ra long line\rshort      \r     \rdone\n"

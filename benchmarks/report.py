"""The result of a run: as JSON for whoever compares runs, as tables for whoever reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.floors import REDIS
from benchmarks.measure import FLOOR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.cold import ColdStart
    from benchmarks.measure import Timing
    from benchmarks.options import Options

_HIT = "stripe-cache: redis"
_MARKS = (("client", 1.15, "a perfect Redis transport under the SDK"), ("get", 1.6, "a bare redis-py GET and orjson"))
_SHAPE_OF_MARKS = "customer"
_BUSY = 0.5


def as_json(
    options: Options,
    machine: dict[str, Any],
    *,
    load: float,
    sizes: dict[str, int],
    timings: Sequence[Timing],
    cold: ColdStart,
) -> dict[str, Any]:
    """Put everything into one JSON document; times are microseconds unless the name says milliseconds."""
    return {
        "machine": machine,
        "run": {
            "rounds": options.rounds,
            "batch": options.batch,
            "processes": options.processes,
            "load_per_core_before": load,
        },
        "body_bytes": sizes,
        "timings": [
            {
                "shape": one.contender.shape,
                "way": one.contender.way,
                "name": one.contender.name,
                "kind": one.contender.kind,
                "floor": one.contender.floor or None,
                "median_us": round(one.median, 2),
                "p95_us": round(one.p95, 2),
                "ratio": None if one.ratio is None else round(one.ratio, 3),
                "calls": one.calls,
            }
            for one in timings
        ],
        "marks": marks(timings),
        "cold": {
            "milliseconds": {one.name: round(one.milliseconds, 2) for one in cold.costs},
            "loaded_by_first_get": list(cold.loaded),
        },
    }


def marks(timings: Sequence[Timing]) -> list[dict[str, Any]]:
    """Compare our Redis hits of a customer with the marks we set ourselves."""
    ratios = {one.contender.key: one.ratio for one in timings}
    found = []
    for way, limit, against in _MARKS:
        ratio = ratios.get((_SHAPE_OF_MARKS, way, _HIT))
        if ratio is not None:
            row = {"way": way, "hit": _HIT, "floor": REDIS, "against": against, "limit": limit}
            found.append({**row, "ratio": round(ratio, 3), "met": ratio <= limit})
    return found


def as_text(document: dict[str, Any]) -> str:
    """Lay the document out as tables."""
    lines = [_about(document["machine"])]
    load = document["run"]["load_per_core_before"]
    if load > _BUSY:
        lines.append(f"The machine was busy before this run ({load} processes per core): repeat it on an idle one.")
    for shape, size in document["body_bytes"].items():
        for way, gives in (("client", "the SDK's objects, through a StripeClient"), ("get", "plain decoded JSON")):
            lines += ["", f"{shape} ({size} bytes), {way}: {gives}", f"  {'':<36}{'median':>12}{'p95':>12}{'ratio':>9}"]
            rows = [row for row in document["timings"] if (row["shape"], row["way"]) == (shape, way)]
            lines += map(_row, sorted(rows, key=_order))
    lines += ["", "ratio: median over the median of the same tier's floor, both measured in turns in this run", ""]
    lines += map(_mark, document["marks"])
    lines += ["", "fresh process"]
    lines += [f"  {name:<36}{value:>9.1f} ms" for name, value in document["cold"]["milliseconds"].items()]
    lines.append(f"  the first get() from Redis had loaded: {', '.join(document['cold']['loaded_by_first_get'])}")
    return "\n".join(lines)


def _about(machine: dict[str, Any]) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    return f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}, {machine['python']}\n{packages}"


def _mark(mark: dict[str, Any]) -> str:
    verdict = "met:" if mark["met"] else "MISSED:"
    against, ratio, limit = mark["against"], mark["ratio"], mark["limit"]
    return f"{verdict:<8}{mark['way']} Redis hit is {ratio:.2f}x of {against}; the mark is {limit}x"


def _order(row: dict[str, Any]) -> tuple[str, bool, float]:
    return (row["floor"] or row["name"], row["kind"] != FLOOR, row["median_us"])


def _row(row: dict[str, Any]) -> str:
    ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}x"
    return f"  {row['name']:<36}{row['median_us']:>9.1f} us{row['p95_us']:>9.1f} us{ratio:>9}".rstrip()

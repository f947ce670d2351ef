"""Which metrics a monitoring template reads, and which ones a program's output emits, in the same words."""

from __future__ import annotations

import json
from typing import Any

from synthesis import resources

# Namespace, name, and dimensions as (name, value).
Read = tuple[str, str, frozenset[tuple[str, str]]]


def dashboard(template: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the dashboard's widgets; what only the deployment knows is written as `<token>`."""
    (board,) = resources(template, "AWS::CloudWatch::Dashboard").values()
    body = board["Properties"]["DashboardBody"]
    pieces = body["Fn::Join"][1] if isinstance(body, dict) else [body]
    widgets: list[dict[str, Any]] = json.loads(
        "".join(piece if isinstance(piece, str) else "<token>" for piece in pieces)
    )["widgets"]
    return widgets


def shown(template: dict[str, Any]) -> list[list[Any]]:
    """Return each metric line of each widget, repetitions (`...`, `.`) spelled out."""
    lines = []
    for widget in dashboard(template):
        previous: list[Any] = []
        for line in widget["properties"].get("metrics", []):
            if isinstance(line[0], dict):
                lines.append(line)
                continue
            full: list[Any] = []
            for position, part in enumerate(line):
                if part == "...":
                    full = [item for item in previous if isinstance(item, str)][: -(len(line) - 2) or None]
                elif part == ".":
                    full.append(previous[position])
                else:
                    full.append(part)
            lines.append(full)
            previous = full
    return lines


def of_alarms(template: dict[str, Any]) -> list[dict[str, Any]]:
    """Return namespace, name and dimensions of each metric that an alarm reads."""
    found = []
    for alarm in resources(template, "AWS::CloudWatch::Alarm").values():
        properties = alarm["Properties"]
        simple = [properties] if "MetricName" in properties else []
        nested = [part["MetricStat"]["Metric"] for part in properties.get("Metrics", []) if "MetricStat" in part]
        found += simple + nested
    return found


def arithmetic(template: dict[str, Any]) -> list[str]:
    """Return every expression of widgets and alarms."""
    written = [line[0]["expression"] for line in shown(template) if isinstance(line[0], dict)]
    for alarm in resources(template, "AWS::CloudWatch::Alarm").values():
        written += [part["Expression"] for part in alarm["Properties"].get("Metrics", []) if "Expression" in part]
    return written


def metrics_read(template: dict[str, Any], namespace: str) -> set[Read]:
    """Return each metric of the namespace that a widget or an alarm reads."""
    found: set[Read] = set()
    for line in shown(template):
        words = [word for word in line if isinstance(word, str)]
        if words and words[0] == namespace:
            found.add((words[0], words[1], frozenset(zip(words[2::2], words[3::2], strict=True))))
    for metric in of_alarms(template):
        if metric["Namespace"] == namespace:
            dimensions = frozenset((item["Name"], item["Value"]) for item in metric["Dimensions"])
            found.add((namespace, metric["MetricName"], dimensions))
    return found


def metrics_emitted(output: str) -> set[Read]:
    """Return each metric that lines of CloudWatch's embedded metric format declare; other lines are passed over."""
    found: set[Read] = set()
    for line in output.splitlines():
        try:
            blob = json.loads(line)
        except ValueError:
            continue
        if not isinstance(blob, dict) or "_aws" not in blob:
            continue
        for directive in blob["_aws"]["CloudWatchMetrics"]:
            for names in directive["Dimensions"]:
                dimensions = frozenset((name, str(blob[name])) for name in names)
                found |= {(directive["Namespace"], metric["Name"], dimensions) for metric in directive["Metrics"]}
    return found


def alarms_by_function(template: dict[str, Any], metric: str) -> set[str]:
    """Return the logical ids of the functions on which an alarm reads the metric, wherever they were made."""
    found = set()
    for read in of_alarms(template):
        if (read["Namespace"], read["MetricName"]) != ("AWS/Lambda", metric):
            continue
        for dimension in read.get("Dimensions", []):
            value = dimension["Value"]
            if dimension["Name"] == "FunctionName" and "Ref" in value:
                found.add(value["Ref"])
            elif dimension["Name"] == "FunctionName":
                # The output of another stack, named after what it exports.
                found.add(value["Fn::GetStackOutput"]["OutputName"])
    return found


def alarm_of(template: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the properties of the one alarm whose logical id contains the name, the hash at its end left out."""
    found = [
        alarm["Properties"]
        for key, alarm in resources(template, "AWS::CloudWatch::Alarm").items()
        if key[:-8].endswith(name)
    ]
    assert len(found) == 1, (name, len(found))
    properties: dict[str, Any] = found[0]
    return properties

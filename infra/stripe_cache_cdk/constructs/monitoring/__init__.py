"""Dashboard and alarms.

What the numbers are is in `metrics` (the runtime's) and `service_metrics` (AWS's), what is drawn in `widgets`. Which
alarms there are is in `alarms`, how one is evaluated in `alarm_maker`, where they go in `topic`; at which limits they
ring is in the package's `thresholds`, since a stage may say so. `watch_list` is what a cache says it is made of,
`construct` puts all of it together, and `sharing` warns of two caches whose numbers would be added up.
"""

from stripe_cache_cdk.constructs.monitoring.construct import Monitoring

__all__ = ["Monitoring"]

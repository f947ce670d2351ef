"""Dashboard and alarms.

What the numbers are is in `metrics` (the runtime's) and `service_metrics` (AWS's), what is drawn in `widgets`. Which
alarms there are is in `alarms`, at which limits they ring in `thresholds`, how one is evaluated in `alarm_maker`, where
they go in `topic`. `watch_list` is what a cache says it is made of, `construct` puts all of it together, and `sharing`
warns of two caches whose numbers would be added up.
"""

from stripe_cache_cdk.constructs.monitoring.construct import Monitoring
from stripe_cache_cdk.constructs.monitoring.thresholds import Thresholds

__all__ = ["Monitoring", "Thresholds"]

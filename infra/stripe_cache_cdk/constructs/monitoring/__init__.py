"""Dashboard and alarms: what the numbers are, what is drawn, and what rings."""

from stripe_cache_cdk.constructs.monitoring.construct import Monitoring
from stripe_cache_cdk.constructs.monitoring.thresholds import Thresholds

__all__ = ["Monitoring", "Thresholds"]

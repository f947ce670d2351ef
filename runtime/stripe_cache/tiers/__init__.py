"""The places an entry can live, each behind the Tier port."""

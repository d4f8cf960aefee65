"""What is served on `metrics-addr`: Prometheus metrics, and on loopback a page that shows the engine."""

from compatd.status.service import Status

__all__ = ["Status"]

"""Figures for Prometheus, in a registry of the server's own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_IMAGES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Counts; no name of an image or a patient is a label."""

    def __init__(self) -> None:
        self.registry = known = CollectorRegistry()
        self.requests = Counter("eosin_requests", "Answered.", ("path", "status"), registry=known)
        said = "From a request's head to the end of its answer."
        self.seconds = Histogram(
            "eosin_request_seconds", said, ("path",), buckets=_SECONDS, registry=known
        )
        self.images = Counter("eosin_images", "Answered.", ("run", "result"), registry=known)
        said = "Images scored together."
        self.batches = Histogram("eosin_batch_images", said, buckets=_IMAGES, registry=known)
        self.queued = Gauge("eosin_queued_images", "Received, not yet answered.", registry=known)
        self.ready = Gauge("eosin_ready", "1 once networks are open.", registry=known)

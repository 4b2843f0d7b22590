"""Figures for Prometheus, in a registry of the server's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from collections.abc import Callable

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_IMAGES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Counts; no name of an image or a patient is a label."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "eosin_requests", "Requests answered.", ("path", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "eosin_request_seconds",
            "From a request's head to the end of its answer.",
            ("path",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._images = Counter(
            "eosin_images", "Images answered.", ("run", "result"), registry=self.registry
        )
        self._batches = Histogram(
            "eosin_batch_images", "Images a batch.", buckets=_IMAGES, registry=self.registry
        )

    def count_request(self, path: str, status: int, seconds: float) -> None:
        """A request to a route was answered."""
        self._requests.labels(path, status).inc()
        self._seconds.labels(path).observe(seconds)

    def count_image(self, run: str, *, error: bool) -> None:
        """A Run answered for an image, or said why it does not."""
        self._images.labels(run, "error" if error else "answer").inc()

    def count_batch(self, images: int) -> None:
        """So many images were scored together."""
        self._batches.observe(images)

    def watch(self, name: str, what: str, value: Callable[[], float]) -> None:
        """A figure that is looked up whenever it is asked for."""
        Gauge(name, what, registry=self.registry).set_function(value)

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self.registry)

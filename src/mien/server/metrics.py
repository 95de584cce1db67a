"""What the server counts, for Prometheus; every app has counters of its own."""

from __future__ import annotations

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

CONTENT_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SIZES = (1, 2, 4, 8, 16, 32)


class Metrics:
    """The counters of one app. No label holds what a client sent."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)  # memory, processor time, open files
        self.requests = Counter(
            "mien_requests", "Requests answered.", ["path", "method", "status"], registry=registry
        )
        self.seconds = Histogram(
            "mien_request_seconds", "From headers to answer.", ["path"], registry=registry, buckets=_SECONDS
        )
        self.images = Counter("mien_images", "Images taken in.", ["outcome"], registry=registry)
        self.faces = Counter("mien_faces", "Faces read.", registry=registry)
        self.waiting = Gauge("mien_waiting_images", "Taken in and not answered yet.", registry=registry)
        self.batch_images = Histogram(
            "mien_batch_images", "Images read together.", registry=registry, buckets=_SIZES
        )
        self.batch_seconds = Histogram(
            "mien_batch_seconds", "Time to read a batch.", registry=registry, buckets=_SECONDS
        )
        self.streams = Gauge("mien_streams", "Open WebSockets.", registry=registry)
        self.frames = Counter("mien_stream_frames", "Images of WebSockets.", ["outcome"], registry=registry)

    def to_text(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self.registry)

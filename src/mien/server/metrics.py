"""Prometheus metrics; every application has its own registry."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """Metrics of one application. Labels never contain data that a client sent."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        # memory, CPU time and open files of the process
        ProcessCollector(registry=registry)
        self.requests = Counter("mien_requests", "Requests answered.", ["path", "method", "status"], registry=registry)
        self.seconds = Histogram(
            "mien_request_seconds",
            "Duration from request headers to the end of the response.",
            ["path"],
            registry=registry,
            buckets=_SECONDS,
        )
        self.images = Counter("mien_images", "Images processed.", ["outcome"], registry=registry)
        self.faces = Counter("mien_faces", "Faces analyzed.", registry=registry)
        self.waiting = Gauge("mien_waiting_images", "Images admitted and not yet answered.", registry=registry)
        self.image_seconds = Histogram(
            "mien_image_seconds", "Duration of the analysis of an image.", registry=registry, buckets=_SECONDS
        )
        self.streams = Gauge("mien_streams", "Open WebSocket connections.", registry=registry)
        self.frames = Counter(
            "mien_stream_frames", "Images received over WebSocket connections.", ["outcome"], registry=registry
        )

    def to_text(self) -> bytes:
        """Return all metrics in the Prometheus text format."""
        return generate_latest(self.registry)

"""What a server counts, for Prometheus."""

from collections.abc import Callable, Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from starlette.types import Scope

from pipelines.answers.answer import Answer

SECONDS = (0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 30.0)
TOGETHER = (1, 2, 4, 8, 12, 16)


class ServeMetrics:
    """Counters of one server."""

    def __init__(self, count_waiting: Callable[[], int]) -> None:
        """Make them. `count_waiting` tells how many photos wait."""
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "cairn_requests", "Requests answered", ["route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "cairn_request_seconds",
            "Time from the head of a request to the end of its response",
            ["route"],
            buckets=SECONDS,
            registry=registry,
        )
        self._answers = Counter(
            "cairn_answers",
            "Photos answered: known, unknown, unreadable",
            ["kind"],
            registry=registry,
        )
        self._batches = Histogram(
            "cairn_batch_photos", "Photos recognised together", buckets=TOGETHER, registry=registry
        )
        waiting = Gauge("cairn_waiting", "Photos and questions that wait", registry=registry)
        waiting.set_function(count_waiting)

    def observe_request(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a request, by the route that it took."""
        route = getattr(scope.get("route"), "path", "other")
        self._requests.labels(route, status).inc()
        self._seconds.labels(route).observe(seconds)

    def observe_batch(self, photos: int) -> None:
        """Count photos that are recognised together."""
        self._batches.observe(photos)

    def observe_answers(self, answers: Sequence[Answer]) -> None:
        """Count answers."""
        for answer in answers:
            known = "unknown" if answer.label is None else "known"
            self._answers.labels("unreadable" if answer.error else known).inc()

    def write(self) -> bytes:
        """Return all of them as Prometheus reads them."""
        return generate_latest(self._registry)

"""Numbers that are worked out when somebody asks for them, so that what is gone has no sample any more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

Samples = Callable[[], Iterable[tuple[tuple[str, ...], float]]]


class LiveGauge(Collector):
    """A gauge whose samples are asked for."""

    def __init__(self, name: str, meaning: str, labels: Sequence[str], samples: Samples) -> None:
        """`samples` gives the labels' values and the number of each; it is called from the listener's thread."""
        self._name = name
        self._meaning = meaning
        self._labels = tuple(labels)
        self._samples = samples

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """All samples there are now."""
        family = GaugeMetricFamily(self._name, self._meaning, labels=self._labels)
        for values, number in self._samples():
            family.add_metric(values, number)
        yield family

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Nothing in advance: registering must not need what only later is known."""
        return iter(())

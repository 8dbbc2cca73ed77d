"""How long things took, for the status of a receiver."""

from collections.abc import Iterable


def spread_ms(seconds: Iterable[float]) -> dict[str, float] | None:
    """Median, 99th percentile and longest of some times, in milliseconds; None where there are none."""
    found = sorted(seconds)
    if not found:
        return None
    places = {
        "p50": len(found) // 2,
        "p99": min(len(found) * 99 // 100, len(found) - 1),
        "max": -1,
    }
    return {name: round(found[place] * 1000, 2) for name, place in places.items()}

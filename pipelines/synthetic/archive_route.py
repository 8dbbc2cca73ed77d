"""The way from a scanner to the archive: how long after its last image a study is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from pipelines.synthetic.calendar import HOUR

# Streams of random numbers, so that exams and phantoms do not shift each other.
_STREAMS = {"exams": 55, "phantoms": 56}


class Route:
    """Every site has a shortest transfer; on top of it comes a long tail, and now and then a queue.

    `habits` are the figures of archive_habits.csv. Nothing arrives at or after `end` (UTC
    seconds): what would come later comes with the last delivery.
    """

    def __init__(
        self, sites: Sequence[str], habits: Mapping[str, float], seed: int, end: int
    ) -> None:
        rng = np.random.default_rng([seed, 57])
        more = rng.uniform(0, habits["transfer_differs_by_site_seconds"], len(sites))
        shortest = habits["shortest_transfer_seconds"] + more
        self._shortest = dict(zip(sites, shortest.tolist(), strict=True))
        self._habits, self._seed, self._end = habits, seed, end

    def arrivals(
        self, scans: pl.DataFrame, series: pl.DataFrame, stream: tuple[str, int]
    ) -> pl.Series:
        """UTC second at which the archive has each scan: after its last acquisition, never before.

        `series` holds start, end and frames_end (UTC seconds) of the scans by exam_no; `stream`
        names the batch (exams or phantoms, and its number).
        """
        name, number = stream
        rng = np.random.default_rng([self._seed, _STREAMS[name], number])
        habits, count = self._habits, scans.height
        tail = rng.lognormal(
            np.log(habits["usual_transfer_seconds"]), habits["transfer_spread"], count
        )
        queued = rng.random(count) < habits["queued_study_rate"]
        queue = np.where(queued, rng.exponential(habits["queue_hours"] * HOUR, count), 0.0)
        shortest = scans["site_code"].replace_strict(self._shortest, return_dtype=pl.Float64)
        last = series.group_by("exam_no").agg(
            last=pl.max_horizontal("end", "frames_end").max().cast(pl.Int64)
        )
        ended = scans.select("exam_no").join(last, on="exam_no", how="left", maintain_order="left")[
            "last"
        ]
        taken = np.ceil(shortest.to_numpy() + tail + queue).astype(np.int64)
        return (ended + pl.Series(taken)).clip(upper_bound=self._end - 1).alias("delivered")

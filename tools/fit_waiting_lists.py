"""Fit referrals and slots of every booking office to the published lists; rewrites two tables.

Run after new figures are added to `pipelines/synthetic/reference/dm01_published.csv`, or for
another network after replacing that file: `python tools/fit_waiting_lists.py`.
"""

import sys

import numpy as np
import polars as pl

from pipelines.synthetic.calibration import fit, leaving, published, scarcity, targets
from pipelines.synthetic.reference_tables import FOLDER, load_profile
from pipelines.synthetic.waiting_list import Demand

SEED = 20201016


def main() -> None:
    """Fit office by office, in the order of their codes, and write both tables."""
    profile = load_profile()
    inputs, rates = [], []
    offices = published().partition_by(["trust_code", "dm01_test"], as_dict=True)
    for number, ((trust, test), rows) in enumerate(sorted(offices.items())):
        office = profile.offices.row(by_predicate=pl.col("office") == test, named=True)
        scarce_rate, spread = scarcity(rows)
        shape = profile.shape_of(str(test))
        demand = Demand(
            requests=0,
            planned=0,
            shape=shape,
            scarce_rate=round(scarce_rate, 3),
            scarce_spread_days=round(spread, 1),
            missed_rate=office["missed_rate"],
            removal_rate=round(leaving(rows, shape, office["removal_rate"]), 3),
        )
        months = fit(targets(rows, profile), demand, np.random.default_rng([SEED, number]))
        keys = [pl.lit(trust).alias("trust_code"), pl.lit(test).alias("dm01_test")]
        inputs.append(months.select(*keys, pl.all()))
        rates.append(
            (trust, test, demand.scarce_rate, demand.scarce_spread_days, demand.removal_rate)
        )
        sys.stdout.write(f"{trust} {test}: {len(months)} months\n")
    pl.concat(inputs).write_csv(FOLDER / "waiting_list_inputs.csv")
    names = ["trust_code", "dm01_test", "scarce_rate", "scarce_spread_days", "removal_rate"]
    pl.DataFrame(rates, schema=names, orient="row").write_csv(FOLDER / "waiting_list_habits.csv")


if __name__ == "__main__":
    main()

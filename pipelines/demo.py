"""What the demo network is: same seed and scale, same files."""

from datetime import date

# The month of the contract.
DEMO_SEED = 20201016
# 1 is the whole region; the demo has some 200,000 exams.
DEMO_SCALE = 0.01
DEMO_START = date(2018, 4, 1)
DEMO_MONTHS = 96
# Go-lives have their known effects.
DEMO_WORLD = "effect"
# File of a landing folder that says which invented network it holds.
LANDING_STAMP = "synthetic.json"

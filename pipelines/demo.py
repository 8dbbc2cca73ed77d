"""What the demo network is: same seed and scale, same files."""

# The month of the contract.
DEMO_SEED = 20201016
# 1 is all of Greater Manchester; the demo has some 200,000 exams.
DEMO_SCALE = 0.01

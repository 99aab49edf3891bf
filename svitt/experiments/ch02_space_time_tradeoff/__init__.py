"""Chapter 2: More frames or more pixels, for the same cost?"""

# Record set -> what makes its numbers.
EXPERIMENTS = {
    "02_space_time_tradeoff": "experiment:measure",
}

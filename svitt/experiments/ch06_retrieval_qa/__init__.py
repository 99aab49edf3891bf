"""Chapter 6: Do sparse models retrieve and answer as well as dense ones?"""

# Record set -> what makes its numbers.
EXPERIMENTS = {
    "06_retrieval_qa": "experiment:measure",
}

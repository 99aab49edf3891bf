"""Chapter 5: What does sparsity buy, in operations, memory and seconds?"""

# Record set -> what makes its numbers.
EXPERIMENTS = {
    "05_efficiency": "experiment:measure",
}

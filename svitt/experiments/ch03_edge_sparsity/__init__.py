"""Chapter 3: Which edges of attention are needed?"""

# Record set -> what makes its numbers.
EXPERIMENTS = {
    "03_edge_sparsity": "experiment:measure",
}

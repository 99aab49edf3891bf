"""Chapter 4: How many patches can go, and which?"""

# Record set -> what makes its numbers.
EXPERIMENTS = {
    "04_node_sparsity": "experiment:measure",
    "04_node_sparsity_movers": "two_objects:measure",
    "04_node_sparsity_merging": "merging:measure",
}

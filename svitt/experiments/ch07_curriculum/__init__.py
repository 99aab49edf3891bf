"""Chapter 7: Does it help to lengthen clips and sparsify in stages?"""

# Record set -> what makes its numbers.
EXPERIMENTS = {
    "07_curriculum": "experiment:measure",
    "07_curriculum_tuning": "tuning:measure",
}

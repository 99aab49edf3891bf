"""Weights in and out: our own folders, image models, BERT, the release."""

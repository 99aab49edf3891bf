"""Recorded results: what is kept of a run and how it is traced to its code."""

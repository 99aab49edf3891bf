"""Grids of chapter executions, run several at a time, resumable."""

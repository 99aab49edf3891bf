"""Readers of annotation files, one a format."""

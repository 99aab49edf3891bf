"""Worlds of made clips whose truth is known."""

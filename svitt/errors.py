"""Typed errors. Every message names the file, key or value, what was expected and the way out."""

from __future__ import annotations


class SvittError(Exception):
    """Base of all errors a user can cause; the command line prints them without a traceback."""


class ConfigError(SvittError, ValueError):
    """A setting is unknown or out of range."""


class VideoDecodeError(SvittError):
    """A video file cannot be read."""


class AnnotationError(SvittError):
    """An annotation file or a procedural world is not what it should be."""


class CheckpointError(SvittError):
    """A checkpoint is missing, damaged or of another model."""


class RecordError(SvittError):
    """A recorded result is missing, edited, stale or not allowed to be written."""


class ProfilingError(SvittError):
    """A measurement of time or memory did not come to its end."""

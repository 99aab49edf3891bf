"""The words of a verdict."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """supported, contradicted, inconclusive: of a test. counted: of a count, which says where it holds.
    passed, failed: of a control. exploratory: seen on seeds that no rule in force judges."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    INCONCLUSIVE = "inconclusive"
    COUNTED = "counted"
    PASSED = "passed"
    FAILED = "failed"
    EXPLORATORY = "exploratory"
    NOT_MEASURED = "not measured"
    TOO_SMALL = "too small to judge"

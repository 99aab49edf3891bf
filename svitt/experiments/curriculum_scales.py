"""The scales of chapter 7: those the tuning started from, with what it chose."""

from __future__ import annotations

from collections.abc import Mapping

from svitt.experiments.curriculum_settings import UNTUNED, Settings

SCALES: Mapping[str, Settings] = {**UNTUNED}

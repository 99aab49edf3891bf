"""The scales of chapter 7: those the tuning started from, with what it chose.

Chosen by the mean over tuning seeds 1000 and 1001 on validation clips (record set ``07_curriculum_tuning``):
the learning rates. How a stage begins made at most 2.4 points there, less than the seeds differ, and stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from svitt.experiments.ch07_curriculum.settings import UNTUNED, Settings

SCALES: Mapping[str, Settings] = {
    **UNTUNED,
    "cpu": replace(UNTUNED["cpu"], direct_rate=1e-3, dense_rate=2e-3, staged_rate=2e-3),
}

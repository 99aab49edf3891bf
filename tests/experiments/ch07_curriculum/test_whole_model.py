"""The remark in the claims file about whole-model costs is what the cost model says."""

from __future__ import annotations

import re
from pathlib import Path

from svitt.experiments.ch07_curriculum.scales import SCALES
from svitt.experiments.ch07_curriculum.whole_model import expansion_over_direct, text_flops
from svitt.ledger.claims import find_claim, load_claims

ROOT = Path(__file__).parents[3]


def test_the_guard_does_not_hold_when_text_is_counted() -> None:
    ratios = expansion_over_direct(SCALES["cpu"])
    assert len(ratios) == 6 and min(ratios.values()) > 1.05
    remark = find_claim(load_claims(ROOT / "data" / "claims.yaml"), "expansion").remark
    said = re.search(r"([\d.]+) to ([\d.]+) times", remark)
    assert said is not None
    assert [f"{v:.2f}" for v in (min(ratios.values()), max(ratios.values()))] == list(said.groups())


def test_text_costs_what_its_layers_cost() -> None:
    """Counted by torch; a training step is three forward passes."""
    assert text_flops(SCALES["cpu"]) % 3 == 0 and text_flops(SCALES["cpu"]) > 1e8

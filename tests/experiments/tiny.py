"""An experiment at the size of seconds, and what every chapter's test asks of it."""

from __future__ import annotations

from types import ModuleType

from svitt.experiments import base
from svitt.ledger.claims import claims_file, find_claim, load_claims
from svitt.ledger.rules import Rule
from svitt.ledger.tables import judged, rule_table, verdict_text
from svitt.records.workspace import project_root


def with_scale(module: ModuleType, settings: object) -> ModuleType:
    """The experiment with these settings as its only scale, ``smoke``."""
    made = ModuleType(module.__name__)
    made.__dict__.update(vars(module), SCALES={"smoke": settings})
    return made


def measured(module: ModuleType, settings: object, out_dir: str, seed: int = 0) -> base.Recorded:
    """A seed of that scale, measured now."""
    tiny = with_scale(module, settings)
    assert base.ensure(tiny, "smoke", seed, "cpu", out_dir)[1]
    (found,) = base.recorded(tiny, "smoke", out_dir)
    return found


def assert_rules_read(run: base.Recorded, out_dir: str, *claims: str) -> None:
    """The rules of these claims find every outcome they name, and refuse to judge the scale."""
    known = load_claims(claims_file(project_root()))
    for claim in claims:
        rule = find_claim(known, claim).rule
        assert isinstance(rule, Rule) and rule.outcomes() <= set(run.outcomes), claim
        row = judged(claim, "smoke", out_dir)
        assert verdict_text(row) == f"scale smoke, seed 0: {claim}: too small to judge"
        assert len(rule_table(row)) == len(rule.all_of) + len(rule.guards), claim

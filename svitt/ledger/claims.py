"""The claims of the source documents and the rules their verdicts follow (``data/claims.yaml``)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from svitt.config import nearest
from svitt.errors import ConfigError, RecordError
from svitt.ledger.revisions import CountTable, Kind, Revision
from svitt.ledger.rules import Rule

Paper = Literal["blog", "svitt", "ego", "tubes"]
PAPERS: dict[str, str] = {
    "blog": "Tripathi 2024, Long-form video representation learning, part 2",
    "svitt": "SViTT, CVPR 2023",
    "ego": "SViTT-Ego, 2024",
    "tubes": "Sparse video tubes, CVPR 2023",
}
PAPER_SCALE = "paper"


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceSetting(_Data):
    """How the claim is measured with the source's data and models.

    command: measures it. needs: the data or weights to obtain first. rule: judges records of scale ``paper``
    over the clips of one run; None while the figures to compare with are not entered.
    """

    command: str
    needs: str
    rule: Rule | None = None


class Claim(_Data):
    """One claim. reported: the figure the source states, None where it states none.

    kind: of claim. tested_here: what is tested in the made worlds, in one sentence: a verdict belongs to it,
    not to the source's sentence. rule: of the first edition, judges the claim's mechanism in the procedural
    world; "source_only" where that world cannot. revisions: later rules. counts: tables of a count.
    """

    id: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    statement: str
    sources: tuple[Paper, ...] = Field(min_length=1)
    reported: str | dict[str, list[float | str]] | None
    chapter: str = Field(pattern=r"^\d\d_[a-z0-9_]+$")
    primary: str
    kind: Kind
    tested_here: str = Field(min_length=20)
    remark: str = ""
    counts: tuple[CountTable, ...] = ()
    revisions: tuple[Revision, ...] = ()
    rule: Rule | Literal["source_only"]
    source_setting: SourceSetting

    @model_validator(mode="after")
    def _kind_fits(self) -> Claim:
        if (self.kind == "count") != bool(self.counts):
            raise ValueError("a claim of kind count has tables under `counts`, and no other has")
        numbers = [revision.number for revision in self.revisions]
        if numbers != list(range(2, 2 + len(numbers))):
            raise ValueError(f"revisions are numbered {numbers}; expected 2, 3, ... in order")
        return self

    @property
    def revision(self) -> Revision | None:
        """The revision in force; None where the first edition's rule is the only one."""
        return self.revisions[-1] if self.revisions else None

    def hashes(self, scale: str) -> dict[str, int]:
        """Hash of every rule the claim ever had for records of a scale -> its number."""
        if scale == PAPER_SCALE:
            rule = self.source_setting.rule
            return {} if rule is None else {rule.hash: 1}
        first = {} if self.mechanism is None else {self.mechanism.hash: 1}
        return first | {revision.hash: revision.number for revision in self.revisions}

    @property
    def mechanism(self) -> Rule | None:
        """The rule of the procedural world; None for a claim that needs the source's data."""
        return self.rule if isinstance(self.rule, Rule) else None

    @property
    def reported_text(self) -> str:
        """The source's figure as one line."""
        if self.reported is None:
            return "none stated"
        if isinstance(self.reported, str):
            return self.reported
        columns = "/".join(str(name) for name in self.reported.get("columns", []))
        rows = (
            f"{name} {'/'.join(str(v) for v in values)}"
            for name, values in self.reported.items()
            if name != "columns"
        )
        return "; ".join(rows) + (f" ({columns})" if columns else "")

    def rule_at(self, scale: str) -> Rule | None:
        """The rule that judges records of a scale."""
        return self.source_setting.rule if scale == PAPER_SCALE else self.mechanism


def claims_file(start: Path) -> Path:
    """``data/claims.yaml`` of the nearest folder at or above ``start`` that has one.

    Errors: ConfigError when there is none.
    """
    for folder in (start.resolve(), *start.resolve().parents):
        if (folder / "data" / "claims.yaml").is_file():
            return folder / "data" / "claims.yaml"
    raise ConfigError(f"no data/claims.yaml in {start} or above it; run inside a checkout of the project")


def load_claims(path: Path) -> list[Claim]:
    """The claims in the file's order.

    Errors: ConfigError naming the file, the claim and the key that is wrong.
    """
    if not path.is_file():
        raise ConfigError(f"{path} is missing; restore it from git")
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f"{path} holds no list of claims; expected a list of mappings with an id each")
    claims: list[Claim] = []
    for number, entry in enumerate(entries):
        name = entry.get("id", f"number {number}") if isinstance(entry, dict) else f"number {number}"
        try:
            claim = Claim.model_validate(entry)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ConfigError(f"{path}, claim {name}: {where}: {first['msg']}") from error
        if any(claim.id == other.id for other in claims):
            raise ConfigError(f"{path}: claim {claim.id!r} stands there twice; ids are unique")
        claims.append(claim)
    return claims


def find_claim(claims: Iterable[Claim], claim_id: str) -> Claim:
    """The claim of that id. Errors: ConfigError with the nearest known id."""
    by_id = {claim.id: claim for claim in claims}
    if claim_id not in by_id:
        raise ConfigError(f"unknown claim {claim_id!r}; {nearest(claim_id, by_id)}")
    return by_id[claim_id]


def rule_hashes(
    claims: Iterable[Claim], chapter: str, scale: str, outcomes: Collection[str]
) -> dict[str, str]:
    """Claim id -> rule hash, for the claims of the chapter that these outcomes measure.

    outcomes: the names recorded. A claim is left out when none of the outcomes that it alone reads is there.
    Errors: RecordError when some of a claim's outcomes are there and others are not.
    """
    claims = [claim for claim in claims if claim.chapter == chapter]
    rules = {c.id: rule for c in claims if (rule := _in_force(c, scale)) is not None}
    now = {c.id: c.revision.hash for c in claims if c.revision is not None and scale != PAPER_SCALE}
    hashes: dict[str, str] = {}
    for claim_id, rule in rules.items():
        missing = sorted(rule.outcomes() - set(outcomes))
        others = set().union(*(other.outcomes() for name, other in rules.items() if name != claim_id))
        if not missing:
            hashes[claim_id] = now.get(claim_id, rule.hash)
        elif (rule.outcomes() - others) & set(outcomes):
            raise RecordError(
                f"{chapter}, scale {scale}: the rule of claim {claim_id!r} also reads the outcomes "
                f"{', '.join(missing)}; record them too"
            )
    return hashes


def _in_force(claim: Claim, scale: str) -> Rule | None:
    if scale != PAPER_SCALE and claim.revision is not None:
        return claim.revision.rule
    return claim.rule_at(scale)

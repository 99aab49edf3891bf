"""Claims and runs as docutils nodes (real tables and lists: searchable, and they follow the theme)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from docutils import nodes

from svitt.ledger.claims import PAPERS, Claim
from svitt.ledger.evaluate_rule import GuardResult
from svitt.ledger.format import (
    command_text,
    commit_text,
    effect_text,
    first_edition_text,
    hardware_text,
    instead_text,
    interval_text,
    part_text,
    price_text,
    requirement_text,
    runs_text,
    seeds_text,
    stale_text,
)
from svitt.ledger.judgement import Judgement
from svitt.ledger.present import guard_state
from svitt.ledger.verdict_words import Verdict
from svitt.ledger.verdicts import Row
from svitt.records.record import Record

ChapterLink = Callable[[str], nodes.Node]


def slug(verdict: Verdict) -> str:
    """CSS class of a verdict."""
    return "verdict-" + verdict.replace(" ", "-")


def table(head: Sequence[str], widths: Sequence[int], rows: Iterable[nodes.row], name: str) -> nodes.table:
    """A table with a head row; widths in percent."""
    made = nodes.table(classes=[name, "colwidths-given"])
    group = nodes.tgroup(cols=len(head))
    made += group
    group += [nodes.colspec(colwidth=width) for width in widths]
    group += nodes.thead("", row([[_line(text)] for text in head]))
    group += nodes.tbody("", *rows)
    return made


def row(cells: Iterable[Sequence[nodes.Node]], classes: Sequence[str] = ()) -> nodes.row:
    """One table row of cells, each a list of block nodes."""
    return nodes.row("", *(nodes.entry("", *cell) for cell in cells), classes=list(classes))


def _line(*parts: str | nodes.Node, name: str = "") -> nodes.paragraph:
    made = nodes.paragraph(classes=[name] if name else [])
    made += [nodes.Text(part) if isinstance(part, str) else part for part in parts]
    return made


def _badge(verdict: Verdict) -> nodes.inline:
    return nodes.inline("", str(verdict), classes=["verdict", slug(verdict)])


def _labelled(label: str, *parts: str | nodes.Node) -> nodes.paragraph:
    return _line(nodes.strong("", label), " ", *parts)


def _effects(judgement: Judgement) -> list[nodes.Node]:
    if judgement.measurement is None:
        return []
    return [
        _line(
            nodes.inline("", effect_text(part), classes=["effect"]),
            f" {part.part.contrast.name}; to show: {requirement_text(part.part.contrast, part.part.test)}",
        )
        for part in judgement.measurement.parts
    ]


def _runs(judgement: Judgement) -> list[nodes.Node]:
    if not judgement.records:
        return []
    return [_line(runs_text(judgement), name="provenance")]


def _stale(modules: Sequence[str]) -> list[nodes.Node]:
    if not modules:
        return []
    return [_line(nodes.strong("", "Stale: "), stale_text(modules), name="stale")]


def _command(claim: Claim, judgement: Judgement) -> list[nodes.Node]:
    command = command_text(claim, judgement)
    if not command:
        return [_line(instead_text(claim), name="command")]
    made = [_line(nodes.literal("", command), name="command")]
    if judgement.records:
        price = price_text(judgement.records)
        fresh = nodes.literal("", "--fresh DIR")
        made.append(
            _line("reads the records; with ", fresh, f" it measures anew: {price}", name="provenance")
        )
    return list(made)


def _present(made: Row) -> list[nodes.Node]:
    """The verdict in force and its reason, and what the first edition said."""
    now = made.present
    out: list[nodes.Node] = [_line(nodes.inline("", now.kind, classes=["label"]), " ", _badge(now.verdict))]
    if now.reason and now.verdict != Verdict.COUNTED:
        out.append(_line(now.reason, name="why"))
    if made.claim.remark:
        out.append(_line(made.claim.remark, name="why"))
    if first := first_edition_text(made):
        out.append(_line(nodes.inline("", "first edition", classes=["label"]), f" {first}", name="why"))
    return out


def _counts(made: Row) -> list[nodes.Node]:
    """Where a count holds: one line per row of its table."""
    if made.present.verdict != Verdict.COUNTED:
        return []
    return [_line(clause) for clause in made.present.reason.split("; ")]


def _parts(made: Row) -> list[nodes.Node]:
    """The tests of a rule in force; where there is none, the first edition's effects."""
    now = made.present
    if not now.parts:
        return [] if now.kind == "count" else _effects(made.mechanism)
    out: list[nodes.Node] = []
    for index, part in enumerate(now.parts):
        need = requirement_text(part.part.contrast, part.part.test)
        text = nodes.inline("", part_text(now, index), classes=["effect"])
        out.append(_line(text, f" {part.part.contrast.name}; to show: {need}"))
    return out


def ledger_row(made: Row, stale: Sequence[str], chapter: ChapterLink) -> nodes.row:
    """One claim as a row of the ledger: claim, source, verdicts, what was measured."""
    claim = made.claim
    verdicts = _present(made)
    source = made.source_setting
    verdicts.append(_line(nodes.inline("", "source setting", classes=["label"]), " ", _badge(source.verdict)))
    measured: list[nodes.Node] = [*_counts(made), *_parts(made), *_runs(made.mechanism)]
    measured += [*_effects(source), *_runs(source)]
    measured = measured or [_line(str(Verdict.NOT_MEASURED))]
    measured += [*_stale(stale), *_command(claim, made.mechanism)]
    anchor = nodes.inline("", claim.id, classes=["claim-id"], ids=[f"claim-{claim.id}"])
    about = [
        _line(anchor),
        _line(claim.statement),
        _labelled("Tested here:", claim.tested_here),
        _line(", ".join(claim.sources), ", ", chapter(claim.chapter)),
    ]
    classes = ["ledger-row", *(f"paper-{paper}" for paper in claim.sources)]
    classes += dict.fromkeys(slug(verdict) for verdict in (made.present.verdict, source.verdict))
    return row([about, [_line(claim.reported_text)], verdicts, measured], classes)


def _guard(result: GuardResult) -> nodes.list_item:
    said = f": {interval_text(result.interval, result.guard.contrast.unit)}" if result.interval else ""
    state = "open" if result.interval is None else guard_state(result.interval, result.guard)
    return nodes.list_item("", _line(nodes.emphasis("", state), f" {result.guard.contrast.name}{said}"))


def claim_box(made: Row, stale: Sequence[str]) -> nodes.container:
    """One claim in full, for its chapter."""
    claim, judgement, rule = made.claim, made.mechanism, made.claim.mechanism
    box = nodes.container(classes=["claim-box", slug(made.present.verdict)])
    papers = "; ".join(PAPERS[paper] for paper in claim.sources)
    box += _line(nodes.strong("", f"Claim {claim.id}. "), claim.statement)
    box += _labelled("Tested here:", claim.tested_here)
    box += _present(made)
    box += [*_counts(made), *_parts(made)]
    box += _labelled("Source:", f"{papers}. Its figure: {claim.reported_text}.")
    if rule is not None and claim.kind != "count":
        needs = [f"{p.contrast.name}, {requirement_text(p.contrast, p.test)}" for p in rule.all_of]
        how = f"({rule.seeds} seeds, t-test, Holm over all claims)"
        box += _labelled("First edition's rule:", f"{'; and '.join(needs)} {how}. {rule.why}")
    box += _runs(judgement)
    if made.source_setting.verdict != Verdict.NOT_MEASURED:
        box += _labelled("Source setting:", _badge(made.source_setting.verdict))
        box += [*_effects(made.source_setting), *_runs(made.source_setting)]
    if judgement.measurement is not None and judgement.measurement.guards and claim.kind != "count":
        box += _labelled("Conditions:", "95% intervals of each must lie within its bounds")
        box += nodes.bullet_list("", *(_guard(result) for result in judgement.measurement.guards))
    if rule is not None and rule.reading:
        box += _labelled("Reading:", rule.reading)
    box += [*_stale(stale), *_command(claim, judgement)]
    return box


def record_row(records: Sequence[Record], stale: Sequence[str], chapter: ChapterLink) -> nodes.row:
    """All seeds of one chapter at one scale as a row of the execution page."""
    last = max(records, key=lambda record: record.created)
    shown = ("python", "torch", "numpy", "timm", "transformers")
    versions = ", ".join(f"{name} {last.versions[name]}" for name in shown if name in last.versions)
    cells = [
        [_line(chapter(last.chapter)), _line(f"{last.scale}, seeds {seeds_text(r.seed for r in records)}")],
        [
            _line(f"{sum(r.cpu_seconds for r in records):,.0f}"),
            _line(f"{sum(r.wall_seconds for r in records):,.0f} elapsed", name="provenance"),
        ],
        [_line(f"{max(r.peak_memory_mib for r in records):,.0f}")],
        [_line(last.created.replace("T", " ").replace("+00:00", " UTC")), _line(commit_text(records))],
        [_line(versions), _line(hardware_text(records), name="provenance"), *_stale(stale)],
    ]
    return row(cells)

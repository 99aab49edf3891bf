"""Claims and runs as docutils nodes (real tables and lists: searchable, and they follow the theme)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from docutils import nodes

from svitt.ledger.claims import PAPERS, Claim
from svitt.ledger.evaluate_rule import GuardResult
from svitt.ledger.format import (
    command_text,
    commit_text,
    detectable_text,
    effect_text,
    hardware_text,
    interval_text,
    requirement_text,
    runs_text,
    seeds_text,
    stale_text,
)
from svitt.ledger.verdicts import Judgement, Row, Verdict
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


def why_text(judgement: Judgement) -> str:
    """The reason of a verdict, and for an inconclusive one what could have been seen."""
    seen = detectable_text(judgement) if judgement.verdict == Verdict.INCONCLUSIVE else ""
    return "; ".join(text for text in (judgement.reason, seen) if text)


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


def _command(claim: Claim, judgement: Judgement) -> nodes.paragraph:
    return _line(nodes.literal("", command_text(claim, judgement)), name="command")


def ledger_row(made: Row, stale: Sequence[str], chapter: ChapterLink) -> nodes.row:
    """One claim as a row of the ledger: claim, source, verdicts, what was measured."""
    claim = made.claim
    verdicts: list[nodes.Node] = []
    for label, judgement in (("mechanism", made.mechanism), ("source setting", made.source_setting)):
        verdicts.append(_line(nodes.inline("", label, classes=["label"]), " ", _badge(judgement.verdict)))
        if why := why_text(judgement):
            verdicts.append(_line(why, name="why"))
    measured: list[nodes.Node] = []
    for judgement in (made.mechanism, made.source_setting):
        measured += [*_effects(judgement), *_runs(judgement)]
    measured = measured or [_line(str(Verdict.NOT_MEASURED))]
    measured += [*_stale(stale), _command(claim, made.mechanism)]
    anchor = nodes.inline("", claim.id, classes=["claim-id"], ids=[f"claim-{claim.id}"])
    about = [
        _line(anchor),
        _line(claim.statement),
        _line(", ".join(claim.sources), ", ", chapter(claim.chapter)),
    ]
    classes = ["ledger-row", *(f"paper-{paper}" for paper in claim.sources)]
    classes += dict.fromkeys(slug(each.verdict) for each in (made.mechanism, made.source_setting))
    return row([about, [_line(claim.reported_text)], verdicts, measured], classes)


def _guard(result: GuardResult) -> nodes.list_item:
    said = f": {interval_text(result.interval, result.guard.contrast.unit)}" if result.interval else ""
    state = "shown" if result.met else "not shown"
    return nodes.list_item("", _line(nodes.emphasis("", state), f" {result.guard.contrast.name}{said}"))


def claim_box(made: Row, stale: Sequence[str]) -> nodes.container:
    """One claim in full, for its chapter."""
    claim, judgement, rule = made.claim, made.mechanism, made.claim.mechanism
    box = nodes.container(classes=["claim-box", slug(judgement.verdict)])
    papers = "; ".join(PAPERS[paper] for paper in claim.sources)
    box += _line(nodes.strong("", f"Claim {claim.id}. "), claim.statement)
    box += _labelled("Source:", f"{papers}. Its figure: {claim.reported_text}.")
    if rule is not None:
        needs = [f"{p.contrast.name}, {requirement_text(p.contrast, p.test)}" for p in rule.all_of]
        box += _labelled(
            "Rule:", f"{'; and '.join(needs)} ({rule.seeds} seeds, Holm over all claims). {rule.why}"
        )
    for label, each in (("Mechanism:", made.mechanism), ("Source setting:", made.source_setting)):
        why = why_text(each)
        box += _labelled(label, _badge(each.verdict), f" {why}" if why else "")
        box += [*_effects(each), *_runs(each)]
    if judgement.measurement is not None and judgement.measurement.guards:
        box += _labelled("Conditions:", "95% intervals of each must lie within its bounds")
        box += nodes.bullet_list("", *(_guard(result) for result in judgement.measurement.guards))
    if rule is not None and rule.reading:
        box += _labelled("Reading:", rule.reading)
    box += [*_stale(stale), _command(claim, judgement)]
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

"""A result in prose is printed from the records, by the role ``{measured}``, and never typed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from svitt.experiments.ch05_efficiency.counts import shortest_clip_reaching
from svitt.ledger.claims import load_claims
from svitt.ledger.measured import measured_text
from svitt.ledger.results import Results
from svitt.ledger.verdicts import Row, ledger
from tests.book.prose_numbers import ALLOWED, EVERYWHERE, prose, sentences, typed_results
from tests.book.tools import CHAPTERS, ROOT

PAGES = [*CHAPTERS, *sorted((ROOT / "book").glob("*.md"))]
by_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
EXPRESSION = re.compile(r"\{measured\}`([^`]+)`")


def allowed(page: Path) -> dict[str, str]:
    return EVERYWHERE | ALLOWED.get(page.stem, {})


@pytest.fixture(scope="module")
def loaded() -> tuple[list[Row], Results]:
    results = ROOT / "data" / "results"
    return ledger(load_claims(ROOT / "data" / "claims.yaml"), results), Results(results)


@by_page
def test_no_result_is_typed(page: Path) -> None:
    assert not typed_results(prose(page), allowed(page)), (
        "print it by {measured}`...`, see svitt.ledger.measured"
    )


@by_page
def test_every_measured_number_is_recorded(page: Path, loaded: tuple[list[Row], Results]) -> None:
    for expression in EXPRESSION.findall(prose(page)):
        assert re.search(r"\d", measured_text(expression, *loaded))


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_every_chapter_tells_its_results_so(chapter: Path) -> None:
    assert len(EXPRESSION.findall(prose(chapter))) >= 5


def test_what_may_be_typed_is_used_has_a_reason_and_is_little() -> None:
    texts = {page.stem: " ".join(sentences(prose(page))) for page in PAGES}
    for stem, snippets in ALLOWED.items():
        for snippet, reason in snippets.items():
            assert snippet in texts[stem], f"{stem} does not say {snippet!r} any more: take it off the list"
            assert reason
            assert len(snippet) < 70
    for snippet in EVERYWHERE:
        assert any(snippet in text for text in texts.values()), snippet
    assert sum(map(len, ALLOWED.values())) < 30


BARE = {
    "percent": "It finds 63% of them.",
    "percent with a fraction": "It finds 63.4 % of them.",
    "points": "It is 12 points better.",
    "points in words": "It loses thirty points on average.",
    "p": "The difference is real (p = .03).",
    "p, smaller": "The difference is real (p < 0.001).",
    "effect size": "A large effect (d = 1.4).",
    "ratio": "It is 3.5x faster.",
    "times": "It is 3 times as fast.",
    "factor": "It saves a factor of 2.",
    "seconds": "It takes 68 CPU seconds.",
    "hours": "It takes 11 hours.",
    "memory": "It needs 2 GiB.",
    "seeds": "In 4 of 5 seeds it learns.",
    "seeds in words": "In three of the five runs it learns.",
    "interval": "The gain is small [-2, 7].",
    "spread": "The mean is 70 \N{PLUS-MINUS SIGN} 3.",
    "difference": "It gains +7 over the other.",
    "fraction": "An accuracy of .62 is reached.",
    "fraction with a zero": "An accuracy of 0.62 is reached.",
    "paper by name alone": "At the paper's density it loses 8 points.",
    "setting by name alone": "At the released setting it loses 2.3 points.",
}


@by_page
@pytest.mark.parametrize("bare", BARE.values(), ids=BARE)
def test_a_bare_result_is_found_on_every_page(page: Path, bare: str) -> None:
    text = prose(page)
    for inserted in (f"{text}\n\n{bare}\n", f"{text}\n\n- {bare}\n", f"{bare} {text}"):
        assert typed_results(inserted, allowed(page))


@pytest.mark.parametrize(
    "fine",
    [
        "It is {measured}`tradeoff.effect` points [{measured}`tradeoff.low`, {measured}`tradeoff.high`] up.",
        "It finds {measured}`02_space_time_tradeoff:slow/2|percent|.0f` (p = {measured}`tradeoff.p`).",
        "SViTT {cite:p}`li2023svitt` gains 1.7 points.",
        "The article's 6 to 7 times is right.",
        "The source reports a gain of 1.2 points.",
        "A loss of $\\ln 64 \\approx 4.16$, or `keep_rate=0.5`.",
        "```python\nx = 0.5  # 63%\n```",
        "Clips of 32 frames, 16 x 16 pixels; seeds 0-4; H.264; layers 3, 6 and 9; [chapter 5](05_x.ipynb).",
    ],
)
def test_what_is_no_typed_result_passes(fine: str) -> None:
    assert not typed_results(fine, {})


def test_lengths_that_chapter_5_tells_are_those_of_the_cost_model() -> None:
    text = " ".join(sentences(prose(ROOT / "book" / "05_efficiency.ipynb")))
    layer, edges, nodes, both = shortest_clip_reaching(6.0).iloc[:, 2]
    assert nodes == "never"
    assert f"past 6 from {layer} frames on" in text
    assert f"comes to 6 only from {both} frames on. By edges alone it would take {edges}, by nodes" in text


def test_the_price_that_the_readme_tells_is_that_of_the_records(loaded: tuple[list[Row], Results]) -> None:
    hours = measured_text("all:cpu_seconds|sum|hours", *loaded)
    assert f"some {hours} CPU hours" in (ROOT / "README.md").read_text(encoding="utf-8")

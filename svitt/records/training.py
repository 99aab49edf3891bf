"""How the models of a record were trained, where that is not plain: kept with the record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict

from svitt.errors import RecordError


class Training(BaseModel):
    """step: "plain", or "captured", repeated from a CUDA graph. stacked: the seeds whose models were trained
    as one stack; none where each was trained alone. code: the hash of the code that stacks, which a record's
    own does not hold. Either way changes the last bits of weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: Literal["plain", "captured"] = "plain"
    stacked: tuple[int, ...] = ()
    code: str = ""

    @property
    def words(self) -> list[str]:
        """The options of ``svitt run`` that ask for it."""
        captured = ["--captured"] if self.step == "captured" else []
        return captured + (["--stack"] if self.stacked else [])

    @property
    def text(self) -> str:
        """For people: "plain", "captured steps", "a stack of 5 seeds"."""
        parts = ["captured steps"] if self.step == "captured" else []
        parts += [f"a stack of {len(self.stacked)} seeds"] if self.stacked else []
        return ", ".join(parts) or "plain"


PLAIN = Training()


def one_way_of_training(trained: Mapping[int, Training | None], also: Iterable[Training] = ()) -> None:
    """Errors: RecordError where the models of some seeds were trained in another way than those of others.

    trained: by seed, as recorded. also: how further seeds are about to be trained. Stacks may differ in their
    seeds.
    """
    ways: dict[str, list[int]] = {}
    for seed, training in trained.items():
        ways.setdefault(_kind(training or PLAIN), []).append(seed)
    for training in also:
        ways.setdefault(_kind(training), [])
    if len(ways) > 1:
        said = "; ".join(f"{way}: " + (f"seeds {seeds}" if seeds else "now") for way, seeds in ways.items())
        raise RecordError(
            f"models trained in different ways ({said}); one verdict is of one way: measure all seeds alike, "
            "beside what is recorded with --fresh DIR, or in its place with --rerun"
        )


def _kind(training: Training) -> str:
    return " ".join(training.words) or "plain"

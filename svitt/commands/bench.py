"""``svitt bench attention|encoder|tables|sparsify|step``: time of sparse against dense, beside the FLOPs."""

from __future__ import annotations

import argparse
import json
import typing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from svitt.commands import bench_sparsify, bench_step
from svitt.commands.bench_lines import LINES
from svitt.errors import ConfigError
from svitt.layers.edges import EdgeSparsity
from svitt.layers.token_pruning import NodeSparsity
from svitt.profiling.benchmark import Clock, machine, matmul_peak, threads
from svitt.profiling.cases import BenchSettings
from svitt.profiling.price import attention_seconds, encoder_seconds
from svitt.profiling.sparse_bench import ATTENTIONS, ENCODERS, PHASES, bench_attention, bench_encoder
from svitt.records.provenance import git_state
from svitt.records.workspace import project_root

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
TRAINED = 8  # frames up to which a training step is timed: beyond, a dense bias and its gradient need 20 GB
BENCHMARKS = Path("data", "results", "benchmarks")


@dataclass(frozen=True)
class Table:
    """One table to be made. what: "attention" or "encoder"; frames; training: frames with a training step."""

    what: str
    frames: tuple[int, ...]
    training: tuple[int, ...]
    settings: BenchSettings

    @property
    def runs(self) -> int:
        """Of all alternatives, warm-up included."""
        if self.what == "attention":
            each = len(self.frames) * len(ATTENTIONS) * len(PHASES)
        else:
            each = (len(self.frames) + len(set(self.training) & set(self.frames))) * len(ENCODERS)
        return each * (self.settings.repeats + 1)

    def price(self, peak: float) -> float:
        """Seconds that it will take, about."""
        if self.what == "attention":
            return attention_seconds(self.frames, self.settings, peak)
        return encoder_seconds(self.frames, self.settings, peak, self.training)


def frame_counts(text: str) -> list[int]:
    """ "8,16,32" -> [8, 16, 32]."""
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        counts = []
    if not counts or min(counts) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected frame counts such as 8,16,32")
    return counts


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what",
        choices=("attention", "encoder", "tables", "sparsify", "step"),
        help="tables: the committed ones; sparsify: a model of timm, pruned and merged; "
        "step: a training step of the chapters' small model, by every way to take it",
    )
    parser.add_argument("--frames", type=frame_counts, default=[8, 16, 32], help="frame counts (8,16,32)")
    parser.add_argument(
        "--training-frames", type=frame_counts, help=f"of an encoder's training step (those up to {TRAINED})"
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (1)")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each alternative (5)")
    parser.add_argument(
        "--clock", choices=typing.get_args(Clock), default="wall", help="cpu: on a shared machine"
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--batch", type=int, default=1, help="clips (1)")
    parser.add_argument("--num-local-blocks", type=int, default=1)
    parser.add_argument("--num-random-blocks", type=int, default=3)
    parser.add_argument("--block-size", type=int, default=56)
    parser.add_argument("--keep-rate", type=float, default=0.7, help="of the encoder's pruning (0.7)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--memory", action="store_true", help="also peak memory, a process each")
    parser.add_argument("--price", action="store_true", help="only say how long it will take")
    parser.add_argument(
        "--json", type=Path, metavar="OUT", help="write the table with all timings; of tables: the folder"
    )


def call(args: argparse.Namespace) -> int:
    """Says the price, then prints one line a frame count; returns 0. ConfigError for impossible settings."""
    if args.device != "cpu" and not torch.cuda.is_available():
        raise ConfigError(f"--device {args.device!r}: this machine has no CUDA device; use --device cpu")
    both = args.what == "tables"
    target = (args.json or project_root() / BENCHMARKS) if both else args.json
    folder = target if both or target is None else target.parent
    if folder is not None and not folder.is_dir():
        raise ConfigError(f"--json {target}: the folder {folder} does not exist; make it first")
    if args.what == "sparsify":
        with threads(args.threads):
            return bench_sparsify.bench(args, DTYPES[args.dtype])
    if args.what == "step":
        with threads(args.threads):
            return bench_step.bench(args)
    tables = asked(args)
    with threads(args.threads):
        first = tables[0].settings
        peak = matmul_peak(first.device, first.dtype, first.clock)
        prices = {table.what: table.price(peak) for table in tables}
        parts = ", ".join(f"{what} {seconds:.0f} s" for what, seconds in prices.items())
        beside = "; the memory of each comes on top" if args.memory else ""
        print(
            f"price: about {sum(prices.values()):.0f} s ({parts}) at {peak / 1e9:.0f} GFLOP/s{beside}",
            flush=True,
        )
        if args.price:
            return 0
        for table in tables:
            made = measured(table, args.memory)
            print_table(table, made)
            if target is not None:
                place = target / f"{table.what}_{args.device}.json" if both else target
                write(place, table, made, args)
    return 0


def asked(args: argparse.Namespace) -> list[Table]:
    """The tables of a call. Of "tables": the lengths, repeats and clock of the committed ones."""
    settings = BenchSettings(
        batch=args.batch,
        edges=EdgeSparsity(args.num_local_blocks, args.num_random_blocks, args.block_size),
        nodes=NodeSparsity(args.keep_rate),
        dtype=DTYPES[args.dtype],
        device=args.device,
        repeats=args.repeats,
        clock=args.clock,
        seed=args.seed,
    )
    if args.what == "tables":
        cpu = args.device == "cpu"
        clock: Clock = "cpu" if cpu else "wall"
        attention, encoder = (replace(settings, repeats=n if cpu else 20, clock=clock) for n in (5, 3))
        return [Table("attention", (8, 16, 32), (), attention), Table("encoder", (4, 8, 16), (4, 8), encoder)]
    training = args.training_frames
    if training is None:
        training = [count for count in args.frames if count <= TRAINED]
    unknown = sorted(set(training) - set(args.frames))
    if args.what == "encoder" and unknown:
        raise ConfigError(f"--training-frames {unknown[0]} is not among --frames {args.frames}; add it there")
    return [Table(args.what, tuple(args.frames), tuple(training), settings)]


def measured(table: Table, memory: bool) -> list[dict[str, Any]]:
    """The rows of a table, a length each. No bar where the output is no terminal."""
    rows = []
    with tqdm(total=table.runs, unit="run", leave=False, disable=None) as bar:
        for frames in table.frames:

            def step(name: str, frames: int = frames) -> None:
                bar.set_description(f"{frames} frames, {name}")
                bar.update()

            if table.what == "attention":
                rows.append(bench_attention(frames, table.settings, step, memory))
            else:
                rows.append(bench_encoder(frames, table.settings, step, memory, frames in table.training))
    return rows


def print_table(table: Table, rows: list[dict[str, Any]]) -> None:
    s, made_on = table.settings, machine(table.settings.device)
    print(
        f"{made_on['processor']}, {made_on['device']}, "
        f"{made_on['threads']} thread(s), torch {made_on['torch']},"
    )
    dtype = str(s.dtype).removeprefix("torch.")
    print(f"{dtype}, batch {s.batch}, {s.clock} time, medians of {s.repeats} interleaved runs,")
    print("against dense scaled_dot_product_attention without bias; peak: that of a matmul here:")
    for row in rows:
        print(LINES[table.what](row))


def write(path: Path, table: Table, rows: list[dict[str, Any]], args: argparse.Namespace) -> None:
    """The table with settings, machine and provenance."""
    left_out = ("call", "command", "json", "price")
    settings = {name: value for name, value in vars(args).items() if name not in left_out}
    settings |= {
        "what": table.what,
        "frames": list(table.frames),
        "training_frames": list(table.training),
        "repeats": table.settings.repeats,
        "clock": table.settings.clock,
    }
    commit, dirty = git_state(project_root())
    made = {"commit": commit, "dirty": dirty, "created": datetime.now(UTC).isoformat(timespec="seconds")}
    content = {"settings": settings, "machine": machine(args.device), "provenance": made, "rows": rows}
    path.write_text(json.dumps(content, indent=1) + "\n")
    print(f"written: {path}")

"""``svitt bench attention|encoder``: time of sparse against dense, beside the FLOPs."""

from __future__ import annotations

import argparse
import json
import typing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from svitt.errors import ConfigError
from svitt.layers.edges import EdgeSparsity
from svitt.layers.token_pruning import NodeSparsity
from svitt.profiling.benchmark import Clock, machine, threads
from svitt.profiling.cases import BenchSettings
from svitt.profiling.sparse_bench import ATTENTIONS, ENCODERS, PHASES, bench_attention, bench_encoder
from svitt.records.provenance import git_state
from svitt.records.workspace import project_root

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


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
    parser.add_argument("what", choices=("attention", "encoder"))
    parser.add_argument("--frames", type=frame_counts, default=[8, 16, 32], help="frame counts (8,16,32)")
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
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the table with all timings")


def call(args: argparse.Namespace) -> int:
    """Prints one line a frame count; returns 0. ConfigError for impossible settings."""
    if args.device != "cpu" and not torch.cuda.is_available():
        raise ConfigError(f"--device {args.device!r}: this machine has no CUDA device; use --device cpu")
    if args.json is not None and not args.json.parent.is_dir():
        raise ConfigError(f"--json {args.json}: the folder {args.json.parent} does not exist; make it first")
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
    attention = args.what == "attention"
    bench = bench_attention if attention else bench_encoder
    alternatives = len(ATTENTIONS) * len(PHASES) if attention else len(ENCODERS)
    rows = []
    with (
        threads(args.threads),
        tqdm(total=len(args.frames) * alternatives * (args.repeats + 1), unit="run", leave=False) as bar,
    ):
        made_on = machine(args.device)
        for frames in args.frames:

            def step(name: str, frames: int = frames) -> None:
                bar.set_description(f"{frames} frames, {name}")
                bar.update()

            rows.append(bench(frames, settings, step, args.memory))
    print(
        f"{made_on['processor']}, {made_on['device']}, "
        f"{made_on['threads']} thread(s), torch {made_on['torch']},"
    )
    print(f"{args.dtype}, batch {args.batch}, {args.clock} time, medians of {args.repeats} interleaved runs,")
    print("against dense scaled_dot_product_attention without bias; peak: that of a matmul here:")
    for row in rows:
        print((attention_line if args.what == "attention" else encoder_line)(row))
    if args.json is not None:
        kept = {name: value for name, value in vars(args).items() if name not in ("call", "command", "json")}
        commit, dirty = git_state(project_root())
        made = {"commit": commit, "dirty": dirty, "created": datetime.now(UTC).isoformat(timespec="seconds")}
        table = {"settings": kept, "machine": made_on, "provenance": made, "rows": rows}
        args.json.write_text(json.dumps(table, indent=1) + "\n")
        print(f"written: {args.json}")
    return 0


def milliseconds(row: dict[str, Any], name: str) -> str:
    t = row["seconds"][name]
    return f"{t['median'] * 1e3:.1f} [{t['lower'] * 1e3:.1f}, {t['upper'] * 1e3:.1f}] ms"


def attention_line(row: dict[str, Any]) -> str:
    lines = [f"{row['frames']} frames, {row['tokens']} tokens, FLOP ratio {row['flop_ratio']:.2f}"]
    for phase, title in (("forward", "forward"), ("training", "forward + backward")):
        times = ", ".join(
            f"{name} {milliseconds(row, f'{name}_{phase}')}, {row[f'{name}_{phase}_of_peak']:.0%} of peak"
            for name in ATTENTIONS
        )
        lines.append(
            f"  {title:19} {row[f'{phase}_ratio']:6.2f}x "
            f"({row[f'{phase}_ratio_to_dense_bias']:.2f}x with bias)  {times}"
        )
    return "\n".join(lines + memory_lines(row))


def memory_lines(row: dict[str, Any]) -> list[str]:
    """Peak memory beside weights and inputs, where it was measured."""
    if "bytes" not in row:
        return []
    return ["  memory: " + ", ".join(f"{name} {size / 1e6:.0f} MB" for name, size in row["bytes"].items())]


def encoder_line(row: dict[str, Any]) -> str:
    lines = [
        f"{row['frames']} frames, {row['tokens']} tokens: dense {milliseconds(row, 'dense')} "
        f"({row['dense_of_peak']:.0%} of peak)"
    ]
    for name, title in (("edges", "edges"), ("edges_nodes", "edges + nodes")):
        lines.append(
            f"  {title:14} {row[f'{name}_ratio']:5.2f}x "
            f"({row[f'{name}_ratio_to_dense_bias']:.2f}x with bias), "
            f"FLOP ratio {row[f'{name}_flop_ratio']:.2f}, realised {row[f'{name}_realised']:.2f}; "
            f"{milliseconds(row, name)}"
        )
    return "\n".join(lines + memory_lines(row))

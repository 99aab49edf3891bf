"""``svitt probe``: the frame-order probe of chapter 1 on anyone's model and data."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from svitt.commands import probe_record
from svitt.commands.probe_choices import probe_choices
from svitt.config import require
from svitt.errors import ConfigError
from svitt.evaluation.metrics import recall_at
from svitt.experiments.ch01_frame_shuffle.real_models import probe_files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument(
        "--model",
        required=True,
        help="folder of a saved model, or folder or hub name of one of transformers: CLIP, SigLIP, X-CLIP, "
        "or one that answers about videos: Qwen-VL, SmolVLM, LLaVA-OneVision, LLaVA-NeXT-Video, InternVL",
    )
    parser.add_argument("--annotations", type=Path, required=True, help="retrieval annotations (JSON)")
    parser.add_argument(
        "--choices",
        action="store_true",
        help="the annotations are multiple choice: options under caption, the right one's place under answer",
    )
    parser.add_argument("--videos", type=Path, required=True, help="folder that their names start from")
    parser.add_argument(
        "--frames", type=int, default=8, help="of a clip, for models that take any (default: 8)"
    )
    parser.add_argument("--draws", type=int, default=4, help="of shuffled and frozen orders")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="write ranks of every order here")
    parser.add_argument(
        "--record", action="store_true", help="record it, at scale paper, for the claim about real models"
    )
    parser.add_argument("--out", default="", help="workspace of the record (default: the checkout's own)")


def call(args: argparse.Namespace) -> int:
    """0: done; 1: some video could not be read (the others are probed)."""
    for name, value in (("--frames", args.frames), ("--draws", args.draws)):
        require(value >= 1, name, value, "integers from 1")
    if args.record and args.choices:
        raise ConfigError("--record --choices: the claim about real models is about retrieval; leave one out")
    if args.record:
        probe_record.checked_place(args)  # before the work
    began, cpu = time.perf_counter(), time.process_time()
    found = (probe_choices if args.choices else probe_files)(
        args.model, args.annotations, args.videos,
        num_frames=args.frames, draws=args.draws, seed=args.seed, device=args.device,
    )  # fmt: skip
    spent = time.process_time() - cpu, time.perf_counter() - began
    asked = found.ranks["none"].shape[1]
    what = f"{asked} questions, options ranked" if args.choices else f"{asked} videos, video to text"
    print(f"{what}; {len(found.failed)} {'videos ' if args.choices else ''}could not be read")
    recalls = {order: 100 * recall_at(ranks, 1) for order, ranks in found.ranks.items()}
    for order, ranks in found.ranks.items():
        change = "" if order == "none" else f"  change {recalls[order] - recalls['none']:+.1f}"
        print(f"  {order:8} R@1 {recalls[order]:5.1f}  R@5 {100 * recall_at(ranks, 5):5.1f}{change}")
    for name, reason in found.failed.items():
        print(f"svitt: not read: {name}: {reason}", file=sys.stderr)
    if args.json is not None:
        outcomes = {f"real/{order}/rank": ranks.tolist() for order, ranks in found.ranks.items()}
        settings = {key: str(value) for key, value in vars(args).items() if key not in ("call", "json")}
        content = {"settings": settings, "failed": found.failed, "outcomes": outcomes}
        args.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if args.record:
        print(f"recorded in {probe_record.write(args, found.ranks, len(found.failed), *spent)}")
    return 1 if found.failed else 0

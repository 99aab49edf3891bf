"""``svitt world make|check|captions``: make a procedural world, verify it, write its captions."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from svitt.config import require
from svitt.data.worlds.shapes.files import write_new
from svitt.data.worlds.shapes.neighbours import nearest_pair, neighbour_caption, passes, passing_caption
from svitt.data.worlds.shapes.relations import relation, relation_caption
from svitt.data.worlds.shapes.scene import ClipParameters, clip_parameters
from svitt.data.worlds.shapes.world import SPLITS, WorldSpec, load_world, make_world

# come together or drift apart; who is next to whom (three objects or more); who passes whom
RELATIONS = ("approach", "next", "pass")
DEFAULT_CLIPS = WorldSpec.num_train


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions and their options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    make = actions.add_parser("make", help="make a world; the same command goes on after an interruption")
    make.add_argument("--out", type=Path, required=True, help="folder; new, empty or a begun world")
    make.add_argument(
        "--clips",
        type=int,
        default=DEFAULT_CLIPS,
        help="training clips (default %(default)s); test has a quarter, validation and heldout an eighth",
    )
    make.add_argument("--seed", type=int, default=0)
    for split in SPLITS[1:]:
        make.add_argument(f"--{split}", type=int, help=f"clips of the {split} split")
    make.add_argument("--size", type=int, default=WorldSpec.size, help="frame side in pixels")
    make.add_argument("--frames", type=int, default=WorldSpec.num_frames, help="frames a clip")
    make.add_argument("--movers", type=int, default=WorldSpec.num_movers, help="named objects a clip")
    make.add_argument("--clutter", type=int, default=WorldSpec.clutter, help="distractors a clip")
    make.add_argument(
        "--object-size", type=float, default=WorldSpec.object_size, help="side, as a share of the frame's"
    )
    make.add_argument("--workers", type=int, default=2, help="processes (default: %(default)s)")

    check = actions.add_parser("check", help="verify every file of a world by its SHA-256")
    check.add_argument("--dir", type=Path, required=True)

    captions = actions.add_parser("captions", help="write a split's captions as a retrieval annotation file")
    captions.add_argument("--dir", type=Path, required=True)
    captions.add_argument("--split", choices=SPLITS, required=True)
    told = captions.add_mutually_exclusive_group(required=True)
    told.add_argument("--dial", type=float, help="0 static to 1: share that has the verb")
    told.add_argument(
        "--relation",
        choices=RELATIONS,
        help="captions of what objects are to each other; clips where it is not clear are left out",
    )
    captions.add_argument("--out", type=Path, required=True, help="JSON file to write")


def call(args: argparse.Namespace) -> int:
    """Runs one action; 0 when it was done."""
    action = {"make": _make, "check": _check, "captions": _captions}[args.action]
    print(action(args))
    return 0


def spec_from(args: argparse.Namespace) -> WorldSpec:
    """The parameters that ``svitt world make`` was given."""
    require(args.clips >= 1, "--clips", args.clips, "integers from 1")
    shares = {"validation": args.clips // 8, "test": args.clips // 4, "heldout": args.clips // 8}
    given = {split: getattr(args, split) for split in shares}
    counts = {f"num_{s}": shares[s] if given[s] is None else given[s] for s in shares}
    return WorldSpec(
        seed=args.seed,
        num_train=args.clips,
        **counts,
        size=args.size,
        num_frames=args.frames,
        num_movers=args.movers,
        clutter=args.clutter,
        object_size=args.object_size,
    )


def _make(args: argparse.Namespace) -> str:
    world = make_world(spec_from(args), args.out, workers=args.workers, progress=sys.stderr.isatty())
    counts = ", ".join(f"{name} {len(split)}" for name, split in world.splits.items())
    return f"{world.folder}: {counts} clips; manifest {world.digest[:12]}"


def _check(args: argparse.Namespace) -> str:
    world = load_world(args.dir, check="full", progress=sys.stderr.isatty())
    return f"{world.folder}: all {sum(map(len, world.splits.values()))} clips are as the manifest says"


def _captions(args: argparse.Namespace) -> str:
    world = load_world(args.dir)
    split = world.split(args.split)
    records = []
    for record in split:
        if args.relation is None:
            caption: str | None = record.caption_at(args.dial)
        else:
            caption = relation_of(clip_parameters(world.spec, args.split, record.index), args.relation)
        if caption is not None:
            records.append({"video": f"{args.split}/{record.path.name}", "caption": caption})
    write_new(args.out, (json.dumps(records, indent=0) + "\n").encode())
    if args.relation is None:
        return f"{args.out}: {len(records)} captions at dial {args.dial}"
    return (
        f"{args.out}: {len(records)} captions ({args.relation}); {len(split) - len(records)} clips not clear"
    )


def relation_of(parameters: ClipParameters, kind: str) -> str | None:
    """The caption of one of RELATIONS, or None for a clip where it is not clear or does not hold.

    Errors: ConfigError for a clip with too few named objects.
    """
    if kind == "approach":
        what = relation(parameters)
        return None if what is None else relation_caption(parameters.scene, what)
    if kind == "next":
        pair = nearest_pair(parameters)
        return None if pair is None else neighbour_caption(parameters.scene, pair)
    return passing_caption(parameters.scene) if passes(parameters) else None

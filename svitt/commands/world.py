"""``svitt world make|check|captions``: make a world of any kind, verify it, write its captions."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from svitt.config import require
from svitt.data.worlds.base import AnySpec
from svitt.data.worlds.files import write_new
from svitt.data.worlds.registry import kind_of, kinds, load_world, make_world, spec_for
from svitt.data.worlds.shapes.neighbours import nearest_pair, neighbour_caption, passes, passing_caption
from svitt.data.worlds.shapes.relations import relation, relation_caption
from svitt.data.worlds.shapes.scene import ClipParameters, clip_parameters
from svitt.data.worlds.shapes.world import SHAPES, WorldSpec
from svitt.errors import ConfigError

# come together or drift apart; who is next to whom (three objects or more); who passes whom
RELATIONS = ("approach", "next", "pass")
DEFAULT_CLIPS = WorldSpec.num_train


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions and their options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    make = actions.add_parser("make", help="make a world; the same command goes on after an interruption")
    make.add_argument("--kind", choices=kinds(), default="shapes", help="(default: %(default)s)")
    make.add_argument("--out", type=Path, required=True, help="folder; new, empty or a begun world")
    make.add_argument(
        "--clips",
        type=int,
        default=DEFAULT_CLIPS,
        help="training clips (default %(default)s); the other splits have a share of as many",
    )
    make.add_argument("--seed", type=int, default=0)
    make.add_argument("--workers", type=int, default=2, help="processes (default: %(default)s)")
    for flag, (names, text, default) in _kind_options().items():
        known = f"{text} ({', '.join(names)})"
        if isinstance(default, bool):
            make.add_argument(f"--{flag}", action="store_true", default=argparse.SUPPRESS, help=known)
        else:
            make.add_argument(f"--{flag}", type=type(default), default=argparse.SUPPRESS, help=known)

    check = actions.add_parser("check", help="verify every file of a world by its SHA-256")
    check.add_argument("--dir", type=Path, required=True)

    captions = actions.add_parser("captions", help="write a split's captions as a retrieval annotation file")
    captions.add_argument("--dir", type=Path, required=True)
    captions.add_argument("--split", required=True)
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


def _kind_options() -> dict[str, tuple[list[str], str, Any]]:
    """flag -> the kinds that have it, its help, its default; the splits' sizes among them."""
    found: dict[str, tuple[list[str], str, Any]] = {}
    for name in kinds():
        kind = kind_of(name)
        defaults = {field.name: field.default for field in dataclasses.fields(kind.spec)}
        splits = [(split, f"clips of the {split} split", 0) for split in kind.splits[1:]]
        own = [(option.flag, option.help, defaults[option.field]) for option in kind.options]
        for flag, text, default in [*splits, *own]:
            found.setdefault(flag, ([], text, default))[0].append(name)
    return found


def spec_from(args: argparse.Namespace) -> AnySpec:
    """The parameters that ``svitt world make`` was given.

    Errors: ConfigError for an option of another kind.
    """
    require(args.clips >= 1, "--clips", args.clips, "integers from 1")
    kind = kind_of(args.kind)
    given = {flag: getattr(args, flag.replace("-", "_"), None) for flag in _kind_options()}
    fields = {option.flag: option.field for option in kind.options}
    fields |= {split: f"num_{split}" for split in kind.splits[1:]}
    for flag, value in given.items():
        if value is not None and flag not in fields:
            raise ConfigError(f"--{flag}: a {kind.name} world has no such option; it has {', '.join(fields)}")
    values = {f"num_{split}": args.clips // share for split, share in kind.shares.items()}
    values |= {fields[flag]: value for flag, value in given.items() if value is not None}
    return spec_for(kind.name, seed=args.seed, **{f"num_{kind.splits[0]}": args.clips}, **values)


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
    if args.relation is not None and not isinstance(world.spec, SHAPES.spec):
        raise ConfigError(f"--relation: {args.dir} is no world of shapes; give --dial instead")
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

"""The ``svitt`` command. Each subcommand is one module of ``svitt.commands``."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Sequence

from svitt import __version__
from svitt.errors import SvittError

# name -> (module of svitt.commands, one line of help). Imported only when called: `svitt claims`
# must not wait for torch.
COMMANDS = {
    "world": ("world", "make or check a procedural video-text world"),
    "run": ("run", "run chapters over a grid of seeds, resumable"),
    "runs": ("runs", "list, show or clean stored training runs"),
    "bundle": ("bundle", "pack code, wheels and run.sh for a machine without network and git"),
    "collect": ("collect", "file the records that a bundle made"),
    "replay": ("replay", "show that a refactoring changed no number, and keep the records"),
    "claims": ("claims", "print the ledger; --check recomputes every verdict"),
    "book": ("book", "run every chapter at a scale and build that edition of the site"),
    "search": ("search", "find the videos of a folder that fit a text"),
    "probe": ("probe", "show a model clips in other orders: does it use time?"),
    "ego": ("ego", "answer the questions of EgoMCQ with anyone's model"),
    "export": ("export", "write a trained model of the book into a folder"),
    "verify-reference": ("verify_reference", "compare the layers with recorded reference tensors"),
    "bench": ("bench", "measure attention and encoders, dense against sparse"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status. A ``SvittError`` is printed without a traceback."""
    args = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog="svitt", description=__doc__)
    parser.add_argument("--version", action="version", version=f"svitt {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module, text) in COMMANDS.items():
        sub = subparsers.add_parser(name, help=text, description=text)
        if args and args[0] == name:
            command = importlib.import_module(f"svitt.commands.{module}")
            command.add_arguments(sub)
            sub.set_defaults(call=command.call)
    parsed = parser.parse_args(args)
    try:
        status = int(parsed.call(parsed))
        sys.stdout.flush()  # here, where a closed pipe is still ours to answer
        return status
    except BrokenPipeError:  # `svitt claims | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except SvittError as error:
        print(f"svitt: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("svitt: interrupted; the same command goes on where this one stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())

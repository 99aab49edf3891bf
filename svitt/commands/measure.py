"""Measures and records one seed of one record set: the process that ``svitt run --record-only`` starts.

No notebook, no kernel: it calls the experiment that the notebook calls.
"""

from __future__ import annotations

import importlib
import json
import sys

from svitt.batch.parent import end_with_parent
from svitt.errors import SvittError
from svitt.experiments.base import ensure
from svitt.records.entry_points import experiment_module
from svitt.records.training import Training


def main() -> int:
    """Reads the task as JSON from standard input: record_set, scale, seed, device, out_dir, changes,
    training, parent.

    Prints the record's values. Returns 0, or 1 with the error as the last line.
    """
    task = json.load(sys.stdin)
    end_with_parent(task["parent"])
    experiment = importlib.import_module(experiment_module(task["record_set"]))
    try:
        record, _ = ensure(
            experiment, task["scale"], task["seed"], task["device"], task["out_dir"],
            changes=task["changes"], training=Training.model_validate(task["training"]),
        )  # fmt: skip
    except SvittError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(dict(record.values), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())

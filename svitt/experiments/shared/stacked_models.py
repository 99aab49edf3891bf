"""Dual encoders of several seeds trained as one stack, each kept where its own training would be found."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack

from svitt.errors import ConfigError
from svitt.experiments.shared.tiny_models import DualTraining, dual_training_code
from svitt.experiments.shared.train_once import finish, run_key, spent
from svitt.models.dual_encoder import DualEncoder
from svitt.records.run_store import RunStore
from svitt.records.workspace import Workspace
from svitt.training.contrastive import contrastive_loss
from svitt.training.stack import Stack, StackedBatches, loss_of_stack
from svitt.training.trainer import train


def train_stack(trainings: Sequence[DualTraining], device: str, workspace: Workspace) -> dict[int, float]:
    """Trains the models of one variant, a seed each, as one stack, unless all are there.

    An interrupted stack goes on from its last checkpoint. Returns the CPU seconds of each seed, an equal part
    of the stack's. Errors: ConfigError for trainings that differ in more than seed, world and captions, or
    whose models cannot be stacked; for a workspace whose training is not of these seeds.
    """
    seeds = tuple(how.seed for how in trainings)
    if workspace.training.stacked != seeds:
        raise ConfigError(f"a stack of seeds {seeds} in a workspace of {workspace.training.stacked}")
    first = trainings[0]
    if any((how.kind, how.train_config) != (first.kind, first.train_config) for how in trainings):
        raise ConfigError(f"{first.kind}: a stack is of one kind of model, trained alike; train these apart")
    store, code = RunStore(workspace.runs), dual_training_code()
    keys = [run_key(how.config(), device, workspace) for how in trainings]
    with ExitStack() as held:
        runs = [
            held.enter_context(store.open(how.kind, key, how.seed, code))
            for how, key in zip(trainings, keys, strict=True)
        ]
        if not all(run.finished for run in runs):
            folder, recipe = runs[0].path / "stack", first.train_config
            before, began = spent(folder), time.process_time()
            models = [DualEncoder(how.model_config, how.seed) for how in trainings]
            stack = Stack(models)
            batches = StackedBatches([how.batches(device) for how in trainings])
            title, step = f"{first.kind}, {len(seeds)} seeds", workspace.training.step
            loss_of = loss_of_stack(contrastive_loss)
            train(stack, batches, loss_of, recipe, folder, device=device, title=title, kind=step)
            stack.unstack(models)
            each = (before + time.process_time() - began) / len(runs)
            for run, model in zip(runs, models, strict=True):
                if not run.finished:
                    finish(run, model.state_dict(), recipe.steps, each)
        return {how.seed: float(r.summary["cpu_seconds"]) for how, r in zip(trainings, runs, strict=True)}

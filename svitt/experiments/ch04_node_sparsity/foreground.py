"""What the kept tokens of chapter 4 show: the named object, against controls, a twin and clutter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from svitt.data.worlds.shapes.world import WorldSpec
from svitt.evaluation.frame_order import ProbeTexts
from svitt.evaluation.metrics import choose
from svitt.experiments.ch04_node_sparsity.clips import (
    NAMED,
    TWIN,
    Frames,
    Ints,
    cluttered,
    made_clips,
    patch_contrast,
    share_on,
    token_coverage,
    top_tokens,
    twin_clips,
)
from svitt.experiments.ch04_node_sparsity.harness import (
    RULE_RATE,
    Bench,
    encode,
    keep_scored,
    pruned,
    tokens_left,
)
from svitt.experiments.shared.result_collector import Found
from svitt.models.dual_encoder import DualEncoder


def all_tokens(num_clips: int, total: int) -> Ints:
    """(num_clips, total): what an unpruned model keeps."""
    return np.tile(np.arange(total), (num_clips, 1))


def foreground(bench: Bench, clips: Frames, masks: Frames, kept: Ints, lowest: Ints, found: Found) -> None:
    """Shares on the named object and on distractors of what the rule's pruning keeps (``kept``), of what
    controls keep in its place, and of the whole clip.

    Controls: the least attended tokens; the same architecture before training; the patches of the highest
    pixel contrast; the places that the trained model keeps most often, whatever is there.
    """
    count, total = kept.shape[1], int(np.prod(bench.grid))
    untrained = pruned(DualEncoder(bench.model.config, bench.seed), bench.nodes("cls", RULE_RATE))
    often = np.bincount(kept.ravel(), minlength=total).astype(np.float32)
    selected = {
        "kept": kept,
        "lowest": lowest,
        "random_weights": encode(untrained.to(bench.device), clips, bench.device).kept[-1],
        "pixel_contrast": top_tokens(patch_contrast(clips, bench.grid), count),
        "position_only": np.repeat(top_tokens(often[None], count), len(clips), axis=0),
        "clip": all_tokens(len(clips), total),
    }
    for what, labels in {"named": (NAMED, NAMED), "distractor": (NAMED + 1, 255)}.items():
        coverage = token_coverage(masks, bench.grid, *labels)
        for name, tokens in selected.items():
            found.keep(f"{name}/{what}_share", share_on(tokens, coverage), digits=4)


def with_twins(
    bench: Bench, spec: WorldSpec, count: int, shown: Ints, texts: ProbeTexts, found: Found
) -> None:
    """The named object against a static twin of its shape and colour, on clips that show both."""
    numbers, parameters = twin_clips(spec, count)
    made = made_clips(parameters, shown[numbers], spec, bench.image_size, "clips with a twin")
    covered = {"named": token_coverage(made.masks, bench.grid, NAMED)}
    covered["twin"] = token_coverage(made.masks, bench.grid, TWIN)
    kept = bench.run("cls", RULE_RATE, made.frames, covered["named"])[0].kept[-1]
    whole = all_tokens(len(made), covered["named"].shape[1])
    for name, tokens in {"kept": kept, "clip": whole}.items():
        for what, coverage in covered.items():
            found.keep(f"with_twin/{name}/{what}_share", share_on(tokens, coverage), digits=4)
    # Whether the model still understands clips of a kind that it never saw in training.
    assert texts.verbs is not None and texts.verb is not None
    embeddings = bench.run(None, 1.0, made.frames, covered["named"])[0].embeddings
    scores = np.einsum("nd,nvd->nv", embeddings, texts.verbs[numbers])
    found.keep("with_twin/dense/verb", choose(scores, texts.verb[numbers]).astype(np.int8))


def with_clutter(
    bench: Bench,
    spec: WorldSpec,
    clutter: int,
    shown: Ints,
    texts: ProbeTexts,
    selections: Sequence[str],
    found: Found,
) -> None:
    """The first test clips again, with ``clutter`` distractors: the same objects and verbs, other company."""
    title = f"clips with {clutter} distractors"
    made = made_clips(cluttered(spec, len(shown), clutter), shown, spec, bench.image_size, title)
    named = token_coverage(made.masks, bench.grid, NAMED)
    found.values[f"clutter{clutter}/clip/named_share"] = float(named.mean())
    count = tokens_left(named.shape[1], RULE_RATE, len(bench.prune_layers))[-1]
    contrast = top_tokens(patch_contrast(made.frames, bench.grid), count)
    found.values[f"clutter{clutter}/pixel_contrast/named_share"] = float(share_on(contrast, named).mean())
    for selection in (None, *selections):
        name = f"clutter{clutter}/{selection or 'dense'}"
        encoded = bench.run(selection, RULE_RATE, made.frames, named)
        keep_scored(found, name, encoded, texts)
        if selection is not None:
            shares = [share_on(e.kept[-1], named) for e in encoded]
            found.values[f"{name}/named_share"] = float(np.mean(shares))

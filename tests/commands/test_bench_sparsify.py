"""``svitt bench sparsify``: what is counted and measured of a model of timm, dense, pruned and merged."""

from __future__ import annotations

import torch

from svitt.commands.bench_sparsify import SELECTIONS, bench_sparsify, flops_of, models

SMALL = {"depth": 6, "embed_dim": 96, "num_heads": 3, "img_size": 96, "num_classes": 5}


def test_equal_keep_rates_leave_equal_tokens_and_fewer_flops() -> None:
    images = torch.zeros(2, 3, 96, 96)
    made = models("vit_tiny_patch16_224", 0.7, (1, 3), **SMALL)
    assert list(made) == ["dense", *SELECTIONS]
    counted = {name: flops_of(model, images) for name, model in made.items()}
    tokens = {
        name: [kept.shape[1] for kept in model.token_pruning.kept]
        for name, model in made.items()
        if name != "dense" and name != "merge"
    }
    assert tokens == {"cls": [26, 19], "random": [26, 19]}
    # 36 patches in the layers 0 and 1, 26 in 2 and 3, 19 in 4 and 5: what is left of the tokens' share.
    share = (2 * 37 + 2 * 27 + 2 * 20) / (6 * 37)
    for name in SELECTIONS:
        assert counted[name] < 1.1 * share * counted["dense"], name
    # The scores of merging and of CLS cost little beside the layers.
    assert max(counted[name] for name in SELECTIONS) < 1.05 * min(counted[name] for name in SELECTIONS)


def test_ratios_are_against_the_dense_model() -> None:
    made = models("vit_tiny_patch16_224", 0.5, (0, 1), **SMALL)
    turns: list[str] = []
    rows = bench_sparsify(made, torch.zeros(2, 3, 96, 96), 2, "cpu", turns.append)
    assert turns == 3 * list(made)
    dense = rows[0]
    assert (dense["model"], dense["time_ratio"], dense["flop_ratio"]) == ("dense", 1.0, 1.0)
    for row in rows:
        seconds, first = row["seconds"]["median"], dense["seconds"]["median"]
        assert row["images_per_second"] == 2 / seconds and row["time_ratio"] == first / seconds
        assert row["flop_ratio"] == dense["gflops_per_image"] / row["gflops_per_image"]

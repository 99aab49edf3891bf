"""The patterns of chapter 3: equal density where they are compared, and the hops they need."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
import torch

from svitt.errors import ConfigError
from svitt.experiments.shared.edge_patterns import (
    Pattern,
    at_density,
    density_sweep,
    hop_distances,
    layer_mask,
    masks,
    named_patterns,
)
from svitt.layers.edges import EdgeSparsity

GRID = (4, 4, 4)
PATTERNS = named_patterns(GRID, 4)


def reads(pattern: Pattern, layer: int = 0) -> torch.Tensor:
    """Patch tokens that each patch token reads."""
    return layer_mask(pattern, GRID, layer)[1:, 1:].sum(dim=1)


@pytest.mark.parametrize("name", ["full", "local", "tube", "random"])
def test_compared_patterns_have_the_same_number_of_edges_for_every_token(name: str) -> None:
    for layer in range(3):
        assert set(reads(PATTERNS[name], layer).tolist()) == {16}
        twin = layer_mask(PATTERNS[f"{name}_no_cls"], GRID, layer)
        assert not bool(twin[1:, 0].any()) and bool(twin[0].all())


def test_what_the_local_patterns_read() -> None:
    frame = torch.arange(64) // 16
    place = torch.arange(64) % 16
    same_frame = frame[:, None] == frame
    assert torch.equal(layer_mask(PATTERNS["local"], GRID, 0)[1:, 1:], same_frame)
    quarter = (place // 8) * 2 + place % 4 // 2
    assert torch.equal(layer_mask(PATTERNS["tube"], GRID, 0)[1:, 1:], quarter[:, None] == quarter)


def test_cls_only_has_no_edge_between_patch_tokens_and_dense_has_all() -> None:
    assert set(reads(PATTERNS["cls_only"]).tolist()) == {0}
    assert bool(layer_mask(PATTERNS["cls_only"], GRID, 0)[:, 0].all())
    assert bool(layer_mask(PATTERNS["dense"], GRID, 0).all())


def test_random_edges_differ_between_layers_and_seeds_and_local_ones_do_not() -> None:
    first, second, _ = masks(PATTERNS["full"], GRID, 3)
    assert not torch.equal(first, second)
    assert not torch.equal(first, layer_mask(named_patterns(GRID, 4, seed=1)["full"], GRID, 0))
    one, two = masks(PATTERNS["local"], GRID, 2)
    assert torch.equal(one, two)


@pytest.mark.parametrize("share", [0.0625, 0.125, 0.5, 1.0])
def test_the_sweep_has_the_density_it_says(share: float) -> None:
    for pattern in density_sweep(GRID, 4, (share,)).values():
        assert float(layer_mask(pattern, GRID, 1)[1:, 1:].double().mean()) == pytest.approx(share)


def test_a_share_that_no_number_of_blocks_makes_is_refused() -> None:
    with pytest.raises(ConfigError, match="1/16"):
        at_density(GRID, 0.1, 4)
    with pytest.raises(ConfigError, match="share"):
        at_density(GRID, 0.0, 4)


@pytest.mark.parametrize("name", [*PATTERNS])
def test_hops_are_shortest_paths(name: str) -> None:
    mask = layer_mask(PATTERNS[name], GRID, 0).numpy()
    graph = nx.from_numpy_array(mask.astype(int).T, create_using=nx.DiGraph)  # key -> query
    reference = np.full((65, 65), -1)
    for key, lengths in nx.all_pairs_shortest_path_length(graph):
        for query, length in lengths.items():
            reference[query, key] = length
    np.fill_diagonal(reference, 0)
    assert np.array_equal(hop_distances(mask), reference[1:, 1:])


def test_cls_joins_all_within_two_hops_and_local_edges_alone_never_do() -> None:
    assert hop_distances(layer_mask(PATTERNS["local"], GRID, 0).numpy()).max() == 2
    without = hop_distances(layer_mask(PATTERNS["local_no_cls"], GRID, 0).numpy())
    assert (without < 0).mean() == pytest.approx(0.75)
    full = hop_distances(layer_mask(PATTERNS["full_no_cls"], GRID, 0).numpy())
    assert full.min() == 0 and 2 <= full.max() <= 4


def test_a_bound_on_the_hops_leaves_the_rest_open() -> None:
    chain = np.eye(6, k=-1, dtype=bool) | np.eye(6, dtype=bool)
    hops = hop_distances(chain, max_hops=2)
    assert hops[4, 2] == 2 and hops[4, 1] == -1 and hops[0, 4] == -1


def test_a_window_of_blocks_is_allowed() -> None:
    pattern = Pattern(EdgeSparsity(3, 0, 4))
    assert sorted(set(reads(pattern).tolist())) == [8, 12]

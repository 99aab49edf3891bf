"""Edge patterns: seeded values without repeats, clipped to the blocks there are."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from svitt.config import from_dict
from svitt.errors import ConfigError
from svitt.layers.edges import (
    EdgePattern,
    EdgeSparsity,
    draw_blocks,
    draw_edges,
    fixed_edges,
    full_edges,
    neighbourhood_order,
    num_blocks,
)
from svitt.layers.token_pruning import NodeSparsity


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(max_examples=60, deadline=None)
@given(
    blocks=st.integers(1, 20),
    window=st.sampled_from([0, 1, 3, 5]),
    num_random=st.integers(0, 8),
    seed=st.integers(0),
)
def test_rows_hold_the_window_and_random_blocks_without_repeats(
    blocks: int, window: int, num_random: int, seed: int
) -> None:
    table = draw_blocks(blocks, window, num_random, generator(seed % 2**63))
    assert table.shape[0] == blocks
    for i, row in enumerate(table.tolist()):
        present = [b for b in row if b >= 0]
        local = set(range(max(0, i - window // 2), min(blocks, i + window // 2 + 1))) if window else set()
        assert present == sorted(set(present))
        assert local <= set(present)
        assert len(present) == len(local) + min(num_random, blocks - len(local))
        assert all(0 <= b < blocks for b in present)


def test_same_seed_same_pattern_and_other_seeds_layers_and_lengths_others() -> None:
    edges = EdgeSparsity(block_size=4, num_random_blocks=3)
    assert torch.equal(fixed_edges(edges, 2, 80).blocks, fixed_edges(edges, 2, 80).blocks)
    assert not torch.equal(fixed_edges(edges, 2, 80).blocks, fixed_edges(edges, 3, 80).blocks)
    other = EdgeSparsity(block_size=4, num_random_blocks=3, seed=1)
    assert not torch.equal(fixed_edges(edges, 2, 80).blocks, fixed_edges(other, 2, 80).blocks)
    drawn = [draw_edges(edges, 80, g).blocks for g in (generator(5), generator(5), generator(6))]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_drawing_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    fixed_edges(EdgeSparsity(), 0, 1000)
    draw_edges(EdgeSparsity(), 1000, generator(0))
    assert torch.equal(torch.rand(2), expected)


def test_every_random_block_is_drawn_about_equally_often() -> None:
    tables = [draw_blocks(8, 1, 2, generator(seed)) for seed in range(300)]
    counts = torch.stack([torch.bincount(t[3][t[3] != 3], minlength=8) for t in tables]).sum(0)
    # 300 draws of 2 in 7: 85.7 expected, standard deviation 7.8.
    assert counts[3] == 0
    assert all(50 < int(c) < 122 for i, c in enumerate(counts) if i != 3)


def test_mask_shows_exactly_the_blocks_and_cls() -> None:
    pattern = EdgePattern(torch.tensor([[0, -1], [0, 2], [2, 1]]), 2)
    expected = [
        [1, 1, 1, 1, 1, 1],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0, 1],
        [1, 1, 1, 0, 0, 1],
        [1, 0, 0, 1, 1, 1],
    ]
    assert pattern.mask(5).int().tolist() == expected
    assert pattern.density(5) == pytest.approx(24 / 36)
    assert bool(full_edges(11, 4).mask(11).all())


def test_a_table_for_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"3 query blocks .* 40 tokens in blocks of 4 make 10 blocks"):
        EdgePattern(torch.zeros(3, 1, dtype=torch.long), 4).key_rows(40)
    with pytest.raises(ValueError, match="numbers up to 9"):
        EdgePattern(torch.full((2, 1), 9), 4).key_rows(8)


def test_neighbourhoods_stand_together() -> None:
    order = neighbourhood_order((4, 6, 6), (2, 3, 2))
    assert sorted(order.tolist()) == list(range(4 * 36))
    for box in order.view(-1, 12):
        time, row, column = box // 36, box // 6 % 6, box % 6
        assert [int(x.max() - x.min()) for x in (time, row, column)] == [1, 2, 1]
    # Sizes that do not divide the grid still give an order.
    assert sorted(neighbourhood_order((3, 5, 5), (2, 2, 2)).tolist()) == list(range(75))
    assert num_blocks(75, 8) == 10


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (EdgeSparsity, {"num_local_blocks": 2}, r"num_local_blocks = 2 .*odd integers"),
        (EdgeSparsity, {"num_local_blocks": -1}, r"num_local_blocks = -1 .*odd integers"),
        (EdgeSparsity, {"num_random_blocks": -1}, r"num_random_blocks = -1 .*integers from 0"),
        (EdgeSparsity, {"block_size": 0}, r"block_size = 0 .*integers from 1"),
        (EdgeSparsity, {"neighbourhood": [2, 2, 2]}, r"neighbourhood = \(2, 2, 2\) .*block_size = 56"),
        (EdgeSparsity, {"block_sise": 56}, r"'block_sise'.*did you mean 'block_size'"),
        (NodeSparsity, {"keep_rate": 0}, r"keep_rate = 0 .*0 < keep_rate <= 1"),
        (NodeSparsity, {"keep_rate": 1.2}, r"keep_rate = 1.2 .*0 < keep_rate <= 1"),
        (NodeSparsity, {"prune_layers": [-1]}, r"prune_layers = \(-1,\)"),
        (NodeSparsity, {"selection": "clss"}, r"selection = 'clss' .*did you mean 'cls'"),
    ],
)
def test_settings_out_of_range_name_the_field_and_what_is_allowed(
    kind: type, values: dict, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        from_dict(kind, values)

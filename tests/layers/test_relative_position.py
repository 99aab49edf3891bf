"""3-D relative position bias by differences of codes, and its inflation over time."""

from __future__ import annotations

import itertools

import pytest
import torch

from svitt.layers.relative_position import (
    RelativePosition,
    code_offset,
    cosine_positions,
    infer_grid,
    position_codes,
    resize_embedding,
    resize_table,
    table_rows,
)


@pytest.mark.parametrize("grid", [(1, 1, 1), (1, 3, 4), (3, 2, 4)])
def test_the_table_row_is_the_offset_in_time_height_and_width(grid: tuple[int, int, int]) -> None:
    t, h, w = grid
    places = list(itertools.product(range(t), range(h), range(w)))
    table = torch.arange(table_rows(grid), dtype=torch.float32)[:, None]
    bias = RelativePosition(table, position_codes(grid), code_offset(grid)).dense()[0, 0]
    for i, a in enumerate(places):
        for j, b in enumerate(places):
            dt, dh, dw = (x - y + n - 1 for x, y, n in zip(a, b, grid, strict=True))
            assert bias[1 + i, 1 + j] == (dt * (2 * h - 1) + dh) * (2 * w - 1) + dw
    rows = table_rows(grid)
    assert rows == (2 * t - 1) * (2 * h - 1) * (2 * w - 1) + 3
    assert bias[0, 0] == rows - 1
    assert bias[0, 1:].eq(rows - 3).all()
    assert bias[1:, 0].eq(rows - 2).all()


def test_codes_of_each_sample_pick_rows_and_columns() -> None:
    grid, kept = (2, 2, 3), torch.tensor([[0, 3, 7], [1, 2, 11]])
    table = torch.randn(table_rows(grid), 2, generator=torch.Generator().manual_seed(0))
    codes = position_codes(grid)
    full = RelativePosition(table, codes, code_offset(grid)).dense()[0]
    pruned = RelativePosition(table, codes[kept], code_offset(grid)).dense()
    for sample, index in zip(pruned, kept, strict=True):
        rows = torch.cat([torch.zeros(1, dtype=torch.long), index + 1])
        assert torch.equal(sample, full[:, rows][:, :, rows])


def test_fewer_frames_use_the_same_table() -> None:
    assert torch.equal(position_codes((4, 3, 3), frames=2), position_codes((4, 3, 3))[:18])


def test_one_frame_is_repeated_over_time() -> None:
    image, clip = (1, 3, 3), (4, 3, 3)
    table = torch.randn(table_rows(image), 2, generator=torch.Generator().manual_seed(0))
    inflated = resize_table(table, image, clip)
    assert inflated.shape == (table_rows(clip), 2)
    assert torch.equal(inflated[:-3].view(7, 25, 2), table[:-3].expand(7, 25, 2))
    assert torch.equal(inflated[-3:], table[-3:])


def test_more_frames_take_the_nearest_time_difference() -> None:
    old, new = (2, 1, 1), (4, 1, 1)
    table = torch.tensor([1.0, 2.0, 3.0, 7.0, 8.0, 9.0])[:, None]
    expected = [1, 1, 1, 2, 2, 3, 3, 7, 8, 9]  # floor(i * 3 / 7)
    assert resize_table(table, old, new).flatten().tolist() == expected


def test_another_resolution_keeps_a_constant_table_constant() -> None:
    table = torch.full((table_rows((2, 3, 3)), 2), 0.5)
    assert torch.allclose(resize_table(table, (2, 3, 3), (2, 5, 6)), torch.tensor(0.5))
    embedding = torch.full((1, 18, 4), 0.5)
    assert torch.allclose(resize_embedding(embedding, (2, 3, 3), (5, 4, 4)), torch.tensor(0.5))


def test_an_embedding_moves_over_space_and_time_with_its_axes() -> None:
    t, h, w = torch.meshgrid(torch.arange(2.0), torch.arange(3.0), torch.arange(3.0), indexing="ij")
    embedding = torch.stack([t, h, w], dim=-1).view(1, 18, 3)
    resized = resize_embedding(embedding, (2, 3, 3), (4, 6, 6)).view(4, 6, 6, 3)
    for axis in range(3):
        other = tuple(i for i in range(3) if i != axis)
        line = resized[..., axis].mean(dim=other)
        assert bool((line.diff() > -1e-5).all())
        assert float(resized[..., axis].std(dim=other).max()) < 1e-5


@pytest.mark.parametrize(
    ("source", "target"),
    [((4, 3, 3), (4, 3, 3)), ((1, 3, 3), (4, 3, 3)), ((8, 3, 3), (4, 3, 3)), ((1, 7, 7), (4, 3, 3))],
)
def test_the_grid_is_inferred(source: tuple[int, int, int], target: tuple[int, int, int]) -> None:
    assert infer_grid(table_rows(source), target) == source


def test_a_table_that_fits_nothing_has_no_grid() -> None:
    assert infer_grid(3 + 6, (4, 3, 3)) is None
    assert infer_grid(2, (4, 3, 3)) is None


def test_cosines_start_near_cells_alike() -> None:
    positions = cosine_positions((4, 4, 4), 64, 0.5, torch.Generator().manual_seed(0)).view(4, 4, 4, 64)
    assert float(positions.std()) == pytest.approx(0.5, rel=0.01)
    near = (positions[1:] - positions[:-1]).norm(dim=-1).mean()
    far = (positions[3] - positions[0]).norm(dim=-1).mean()
    assert float(near) < 0.6 * float(far)
    again = cosine_positions((4, 4, 4), 64, 0.5, torch.Generator().manual_seed(0))
    assert torch.equal(positions.view(64, 64), again)
    assert cosine_positions((1, 1, 1), 8, 0.5).abs().sum() == 0

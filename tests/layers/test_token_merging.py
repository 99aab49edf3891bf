"""Token merging against ToMe's algorithm written out in loops."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from svitt.errors import ConfigError
from svitt.layers.token_merging import follow_groups, match_tokens, merge_tokens, unmerge_tokens


def by_loops(keys: Tensor, merged: int) -> tuple[list[tuple[int, int]], list[int]]:
    """Pairs (source, target) and what is left, of one sample (K, d): ToMe section 3, one token at a time."""
    proposals = []
    for i in range(1, len(keys), 2):
        cosines = {j: float(torch.cosine_similarity(keys[i], keys[j], dim=0)) for j in range(0, len(keys), 2)}
        partner = max(cosines, key=lambda j: cosines[j])
        proposals.append((cosines[partner], i, partner))
    pairs = [(i, j) for _, i, j in sorted(proposals, key=lambda p: -p[0])[:merged]]
    sources = {i for i, _ in pairs}
    return pairs, [i for i in range(len(keys)) if i not in sources]


@settings(deadline=None, max_examples=30)
@given(count=st.integers(1, 15), share=st.floats(0, 1), seed=st.integers(0, 999))
def test_matches_and_means_are_those_of_the_loops(count: int, share: float, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    merged = int(share * (count // 2))
    keys = torch.randn(3, count, 4, generator=g)
    x = torch.randn(3, count, 5, generator=g, dtype=torch.float64)
    sizes = torch.randint(1, 5, (3, count), generator=g).double()
    matching = match_tokens(keys, merged)
    out, out_sizes = merge_tokens(x, sizes, matching)
    assert out.shape == (3, count - merged, 5)
    for b in range(3):
        pairs, left = by_loops(keys[b], merged)
        assert set(zip(matching.sources[b].tolist(), matching.targets[b].tolist(), strict=True)) == set(pairs)
        assert matching.kept[b].tolist() == left
        for place, token in enumerate(left):
            members = [token, *(i for i, j in pairs if j == token)]
            total = sizes[b, members].sum()
            mean = (x[b, members] * sizes[b, members, None]).sum(dim=0) / total
            assert torch.allclose(out[b, place], mean)
            assert out_sizes[b, place] == total


def test_the_mass_is_kept_and_every_patch_finds_its_token() -> None:
    """Over three merges: the mean over patches laid out again is the mean of the input."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(2, 16, 3, generator=g, dtype=torch.float64)
    mean, sizes, groups = x.mean(dim=1), torch.ones(2, 16), torch.arange(16).expand(2, -1)
    members = [[{i} for i in range(16)] for _ in range(2)]
    for merged in (8, 3, 2):
        matching = match_tokens(torch.randn(2, x.shape[1], 4, generator=g), merged)
        x, sizes = merge_tokens(x, sizes, matching)
        groups = follow_groups(groups, matching)
        for b in range(2):
            for source, target in zip(
                matching.sources[b].tolist(), matching.targets[b].tolist(), strict=True
            ):
                members[b][target] |= members[b][source]
            members[b] = [members[b][i] for i in matching.kept[b].tolist()]
            found = [{i for i in range(16) if groups[b, i] == place} for place in range(x.shape[1])]
            assert found == members[b]
            assert sizes[b].tolist() == [len(patches) for patches in members[b]]
        assert torch.allclose(unmerge_tokens(x, groups).mean(dim=1), mean)
    assert x.shape[1] == 3


def test_gradients_are_those_of_the_mean() -> None:
    x = torch.randn(1, 4, 2, dtype=torch.float64, requires_grad=True)
    keys = torch.tensor([[[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [-1.0, 0.0]]], requires_grad=True)
    matching = match_tokens(keys, 1)
    assert (matching.sources.tolist(), matching.targets.tolist()) == ([[1]], [[0]])
    sizes = torch.tensor([[1.0, 3.0, 1.0, 1.0]])
    out, _ = merge_tokens(x, sizes, matching)
    out.sum().backward()
    assert x.grad is not None and x.grad[0, :, 0].tolist() == [0.25, 0.75, 1, 1]
    assert keys.grad is None
    assert torch.autograd.gradcheck(lambda y: merge_tokens(y, sizes, matching)[0], x)


@pytest.mark.parametrize("merged", [-1, 3])
def test_more_pairs_than_there_are_is_refused(merged: int) -> None:
    with pytest.raises(ConfigError, match=f"merged = {merged} .*0 to 2 of 5 tokens"):
        match_tokens(torch.zeros(1, 5, 2), merged)

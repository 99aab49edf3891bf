"""A trained dual encoder with token pruning put in afterwards: what it keeps and how well it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from svitt.data.transforms import normalise
from svitt.evaluation.frame_order import ProbeOutcome, ProbeTexts, score_order
from svitt.experiments.ch04_node_sparsity.clips import Floats, Frames, Grid, perfect_scores
from svitt.experiments.shared.result_collector import Found
from svitt.layers.token_pruning import NodeSparsity, num_kept
from svitt.models.dual_encoder import DualEncoder

RULE_RATE = 0.5  # kept at each pruning layer


@dataclass(frozen=True)
class Encoded:
    """embeddings (N, D), L2-normalised; kept: token numbers (N, k), ascending, after each pruning layer."""

    embeddings: npt.NDArray[np.float32]
    kept: list[npt.NDArray[np.int64]]


def pruned(model: DualEncoder, nodes: NodeSparsity | None) -> DualEncoder:
    """A new model with the weights of ``model`` and its video tokens pruned as ``nodes`` says."""
    config = replace(model.config, video=replace(model.config.video, nodes=nodes))
    made = DualEncoder(config)
    made.load_state_dict(model.state_dict())
    return made.eval()


def tokens_left(total: int, keep_rate: float, num_layers: int) -> list[int]:
    """Patch tokens after each of ``num_layers`` pruning layers."""
    left = [total]
    for _ in range(num_layers):
        left.append(num_kept(left[-1], keep_rate))
    return left[1:]


@torch.no_grad()
def encode(
    model: DualEncoder,
    clips: npt.NDArray[np.uint8],
    device: str,
    *,
    seed: Sequence[int] | None = None,
    scores: npt.NDArray[np.float32] | None = None,
    batch_size: int = 250,
) -> Encoded:
    """Embeds clips (N, T, H, W, C) and says which tokens were kept.

    seed: of a random selection. scores: (N, T*h*w), by which a given selection ranks the tokens.
    """
    generator = None
    if seed is not None:
        state = np.random.SeedSequence(seed).generate_state(1)
        generator = torch.Generator().manual_seed(int(state[0]))
    embeddings, kept = [], []
    for start in range(0, len(clips), batch_size):
        part = slice(start, start + batch_size)
        wanted = None if scores is None else torch.from_numpy(scores[part]).to(device)
        features = model.video_encoder(
            normalise(clips[part]).to(device), generator=generator, token_scores=wanted
        )
        embedding = F.normalize(model.video_projection(features.pooled), dim=-1)
        embeddings.append(embedding.float().cpu().numpy())
        kept.append([tokens.cpu().numpy() for tokens in features.kept])
    return Encoded(np.concatenate(embeddings), [np.concatenate(stage) for stage in zip(*kept, strict=True)])


@dataclass(frozen=True)
class Bench:
    """A trained model and how its tokens are pruned. draws: of random tokens."""

    model: DualEncoder
    prune_layers: tuple[int, ...]
    draws: int
    seed: int
    device: str

    @property
    def grid(self) -> Grid:
        """(frames, rows, columns) of the patch tokens."""
        return self.model.config.video.grid

    @property
    def image_size(self) -> int:
        """Pixels a side."""
        return self.model.config.video.image_size

    def nodes(self, selection: str, keep_rate: float) -> NodeSparsity:
        """One way of pruning at this bench's layers."""
        return NodeSparsity(keep_rate, self.prune_layers, "given" if selection == "oracle" else selection)

    def run(self, selection: str | None, keep_rate: float, clips: Frames, coverage: Floats) -> list[Encoded]:
        """``clips`` (N, T, H, W, 3) encoded once, or once a draw where tokens are random; None is dense.

        coverage: (N, T*h*w) of the named object, for the selection ``oracle``, which knows it.
        """
        if selection is None:
            return [encode(self.model, clips, self.device)]
        model = pruned(self.model, self.nodes(selection, keep_rate)).to(self.device)
        if selection == "random":
            seeds = [(self.seed, round(100 * keep_rate), draw) for draw in range(self.draws)]
            return [encode(model, clips, self.device, seed=seed) for seed in seeds]
        scores = perfect_scores(coverage, self.grid) if selection == "oracle" else None
        return [encode(model, clips, self.device, scores=scores)]


def keep_scored(found: Found, name: str, encoded: Sequence[Encoded], texts: ProbeTexts) -> ProbeOutcome:
    """Keeps rank, verb and flip choice of every draw, (draws, N); returns the first draw's outcome."""
    scored = [score_order(e.embeddings, texts) for e in encoded]
    types = {"rank": np.int16, "verb": np.int8, "flip": np.int8}
    for kind, dtype in types.items():
        found.keep(f"{name}/{kind}", np.concatenate([getattr(s, kind) for s in scored]).astype(dtype))
    return scored[0]

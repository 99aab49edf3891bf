"""The video encoder: patches of all frames in one sequence behind one CLS token (SViTT section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from svitt.errors import ConfigError
from svitt.layers.block import Block
from svitt.layers.edge_sparse_attention import Backend
from svitt.layers.edges import EdgePattern, draw_edges, fixed_edges, neighbourhood_order
from svitt.layers.patch_embed import PatchEmbed
from svitt.layers.relative_position import Grid, cosine_positions, position_codes
from svitt.layers.token_pruning import find_score, num_kept, require_scores
from svitt.models.token_state import TokenSelection, TokenState
from svitt.models.video_config import Pooling, Position, VideoEncoderConfig

__all__ = ["Pooling", "Position", "VideoEncoder", "VideoEncoderConfig", "VideoFeatures"]


class VideoFeatures(NamedTuple):
    """What a video encoder returns; K is the number of patch tokens left at the end.

    tokens: (B, 1+K, D), CLS first, after the final LayerNorm.
    pooled: (B, D).
    kept: for every pruning layer the tokens it kept, (B, k) int64, ascending, in the numbering of all
        T*h*w patch tokens of the clip (CLS not counted).
    attention: if asked, for every layer the CLS row of its attention, (B, heads, 1 + tokens then).
    hidden_states: if asked, the embedding and the state after every layer (and its pruning).
    """

    tokens: Tensor
    pooled: Tensor
    kept: list[Tensor]
    attention: list[Tensor] | None = None
    hidden_states: list[Tensor] | None = None


class VideoEncoder(nn.Module):
    """A BEiT-style transformer over clips; ``config`` says how large and how sparse.

    generator: of the initial weights; None is a generator of seed 0.
    backend: of edge-sparse attention, see ``svitt.layers.edge_sparse_attention.edge_attention``. The default
        gives the same numbers whatever the machine prefers; "auto" is faster for short sequences.
    """

    def __init__(
        self,
        config: VideoEncoderConfig,
        generator: torch.Generator | None = None,
        backend: Backend = "chunked",
    ) -> None:
        super().__init__()
        self.config = config
        # Made at the first clip of a length: the fixed edges of every layer, and the order of the tokens.
        self._fixed: dict[tuple[int, int], EdgePattern] = {}
        self._orders: dict[tuple[Grid, torch.device], Tensor] = {}
        c = config
        relative = c.position == "relative_3d"
        self.patch_embed = PatchEmbed(c.patch_size, c.in_channels, c.width, c.stem)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, c.width))
        tokens = c.grid[0] * c.grid[1] * c.grid[2]
        self.pos_embed = None if relative else nn.Parameter(torch.zeros(1, tokens, c.width))
        self.blocks = nn.ModuleList(
            Block(
                c.width,
                c.num_heads,
                c.mlp_ratio,
                c.grid if relative else None,
                c.layer_scale,
                c.norm_eps,
                c.drop_path * i / max(1, c.depth - 1),
                backend,
            )
            for i in range(c.depth)
        )
        self.norm = nn.LayerNorm(c.width, eps=c.norm_eps)
        self.fc_norm = nn.LayerNorm(c.width, eps=c.norm_eps) if c.pooling == "mean" else None
        self.init_weights(torch.Generator().manual_seed(0) if generator is None else generator)

    @torch.no_grad()
    def init_weights(self, generator: torch.Generator) -> None:
        """Draws all weights from ``generator``: same seed, same weights, whatever the global state."""
        c = self.config
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                if isinstance(module, nn.Conv2d) and c.stem == "conv":
                    nn.init.kaiming_normal_(module.weight, generator=generator)
                elif c.init_std is None:
                    nn.init.xavier_uniform_(module.weight.flatten(1), generator=generator)
                else:
                    nn.init.trunc_normal_(module.weight, std=c.init_std, generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        std = 0.02 if c.init_std is None else c.init_std
        nn.init.trunc_normal_(self.cls_token, std=std, generator=generator)
        for name, parameter in self.named_parameters():
            if name.endswith("relative_position_bias_table"):
                nn.init.trunc_normal_(parameter, std=std, generator=generator)
        if self.pos_embed is not None:
            self.pos_embed.copy_(cosine_positions(c.grid, c.width, c.position_scale, generator))

    def _embed(self, clips: Tensor) -> Tensor:
        """(B, T, C, H, W) or images (B, C, H, W) -> (B, 1+T*h*w, D). ConfigError for other shapes."""
        c = self.config
        clips = clips[:, None] if clips.dim() == 4 else clips
        shape = (c.in_channels, c.image_size, c.image_size)
        if clips.dim() != 5 or tuple(clips.shape[2:]) != shape or not 1 <= clips.shape[1] <= c.num_frames:
            raise ConfigError(
                f"clips of shape {tuple(clips.shape)}; expected (B, T, {', '.join(map(str, shape))}) with "
                f"1 <= T <= num_frames = {c.num_frames}; resize the clip, or make an encoder for this size"
            )
        x = self.patch_embed(clips)
        if self.pos_embed is not None:
            x = x + self.pos_embed[:, : x.shape[1]]
        return torch.cat([self.cls_token.expand(x.shape[0], -1, -1).to(x.dtype), x], dim=1)

    def _order(self, tokens: int, device: torch.device) -> Tensor:
        """Numbers (tokens,) of the patch tokens in the order in which they are cut into blocks."""
        edges, grid = self.config.edges, self.config.grid
        if edges is None or edges.neighbourhood is None:
            return torch.arange(tokens, device=device)
        return self._boxes((tokens // (grid[1] * grid[2]), grid[1], grid[2]), edges.neighbourhood, device)

    @torch.compiler.disable
    def _boxes(self, grid: Grid, neighbourhood: Grid, device: torch.device) -> Tensor:
        """``neighbourhood_order`` on the device, made once."""
        if (grid, device) not in self._orders:
            self._orders[grid, device] = neighbourhood_order(grid, neighbourhood).to(device)
        return self._orders[grid, device]

    @torch.compiler.disable
    def _patterns(self, tokens: int, generator: torch.Generator | None) -> Sequence[EdgePattern | None]:
        """The edges of every layer: fixed, or new ones in training with ``redraw``; None is dense."""
        edges, nodes = self.config.edges, self.config.nodes
        if edges is None:
            return [None] * self.config.depth
        redraw = edges.redraw and self.training
        if redraw and generator is None:
            raise ConfigError(
                "edges.redraw = True needs forward(..., generator=torch.Generator()) in training"
            )
        patterns = []
        for layer in range(self.config.depth):
            if redraw and generator is not None:
                patterns.append(draw_edges(edges, tokens, generator))
            else:
                if (layer, tokens) not in self._fixed:
                    self._fixed[layer, tokens] = fixed_edges(edges, layer, tokens)
                patterns.append(self._fixed[layer, tokens])
            if nodes is not None and layer in nodes.prune_layers:
                tokens = num_kept(tokens, nodes.keep_rate)
        return patterns

    def forward(
        self,
        clips: Tensor,
        *,
        generator: torch.Generator | None = None,
        token_scores: Tensor | None = None,
        patterns: Sequence[EdgePattern] | None = None,
        return_attention: bool = False,
        return_hidden_states: bool = False,
    ) -> VideoFeatures:
        """Encodes clips (B, T, C, H, W), float, T <= num_frames; images (B, C, H, W) are clips of one frame.

        generator: CPU generator for scores of tokens that draw and for edges that are redrawn; needed for
            both in training, while evaluation has fixed seeds of its own.
        token_scores: (B, T*h*w) floats, of every patch token, for selection "given".
        patterns: the edges of every layer, instead of those that the configuration draws.
        Errors: ConfigError for clips of another size, or what is needed and not given; ValueError for
        patterns of another number of layers or tokens.
        """
        # 1. Clips as tokens: x (B, 1+K, D), K = T*h*w.
        state = self._embedded(clips)
        edges = self._patterns(state.x.shape[1] - 1, generator) if patterns is None else patterns
        require_scores(token_scores, *state.numbers.shape)
        selection = self._selection(generator, token_scores)
        states = [state.ascending()] if return_hidden_states else []
        rows: list[Tensor] = []
        kept: list[Tensor] = []
        # 2. The layers; K shrinks after every layer that prunes.
        for i, (block, pattern) in enumerate(zip(self.blocks, edges, strict=True)):
            prune = selection if selection is not None and i in selection.nodes.prune_layers else None
            by_attention = prune is not None and "cls_row" in prune.score.needs
            x, row = block(state.x, state.codes, pattern, need_cls=return_attention or by_attention)
            state = state._replace(x=x)
            if return_attention:
                rows.append(state.ascending_row(row))
            if prune is not None:
                state = prune(state, row)
                kept.append(state.ascending_numbers())
            if return_hidden_states:
                states.append(state.ascending())
        # 3. The features of what is left, in the order of the clip.
        x = state.ascending()
        normed = self.norm(x)
        pooled = normed[:, 0] if self.fc_norm is None else self.fc_norm(x[:, 1:].mean(dim=1))
        return VideoFeatures(
            normed, pooled, kept, rows if return_attention else None, states if return_hidden_states else None
        )

    def _embedded(self, clips: Tensor) -> TokenState:
        """Clips as tokens, in the order in which they are cut into blocks, with their positions."""
        x = self._embed(clips)
        batch, tokens = x.shape[0], x.shape[1] - 1
        numbers = self._order(tokens, x.device).expand(batch, -1)  # (B, K)
        reordered = self.config.edges is not None and self.config.edges.neighbourhood is not None
        if reordered:
            x = torch.cat(
                [x[:, :1], x[:, 1:].gather(1, numbers[:, :, None].expand(-1, -1, x.shape[2]))], dim=1
            )
        codes = None
        if self.config.position == "relative_3d":
            grid = self.config.grid
            codes = position_codes(grid, tokens // (grid[1] * grid[2]), x.device)[numbers[0]]  # (K,)
        return TokenState(x, numbers, codes, reordered)

    def _selection(self, generator: torch.Generator | None, given: Tensor | None) -> TokenSelection | None:
        """How tokens are chosen in this pass; one generator for all of its layers."""
        nodes = self.config.nodes
        if nodes is None:
            return None
        score = find_score(nodes.selection)
        if "generator" in score.needs and generator is None and not self.training:
            generator = torch.Generator().manual_seed(nodes.seed)
        return TokenSelection(nodes, score, generator, given)

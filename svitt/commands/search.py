"""``svitt search TEXT --videos DIR``: the videos of a folder that fit a text best."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from tqdm import tqdm

from svitt.config import require
from svitt.data.text import clean_caption, encode
from svitt.data.transforms import normalise
from svitt.data.video.decode import read_clip, sample_clip
from svitt.data.video.sampling import Sampling
from svitt.errors import CheckpointError, ConfigError, VideoDecodeError
from svitt.evaluation.feature_cache import FeatureCache, digest
from svitt.models.checkpoints.io import WEIGHTS, SavedModel, load_model
from svitt.models.svitt import SViTT
from svitt.records.workspace import project_root

VIDEOS = frozenset({".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".mpg", ".mpeg"})
Frames = npt.NDArray[np.uint8]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument("text", metavar="TEXT", help='what to look for, e.g. "a red ring moves left"')
    parser.add_argument("--videos", type=Path, required=True, help="folder, searched with all folders in it")
    parser.add_argument(
        "--checkpoint", type=Path, help="folder of a saved model (default: the one that comes with the book)"
    )
    parser.add_argument("--top", type=int, default=5, help="how many to show (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write the whole ranking here")
    parser.add_argument("--sheet", type=Path, help="write a contact sheet (PNG) of the best here")
    parser.add_argument("--cache", type=Path, help="folder of encoded videos (default: the user's cache)")
    parser.add_argument("--device", default="cpu")


@dataclass(frozen=True)
class Hit:
    """video: its path; score: cosine similarity; frames: numbers of those that the model saw."""

    video: str
    score: float
    frames: tuple[int, ...]


@dataclass(frozen=True)
class Ranking:
    """hits: best first. unreadable: path -> why. unknown: words of the text that the model never met."""

    text: str
    hits: tuple[Hit, ...]
    unreadable: dict[str, str]
    unknown: tuple[str, ...]


def default_checkpoint() -> Path:
    """The model that comes with the book: two named objects, seed 0 of chapter 3."""
    return project_root() / "data" / "checkpoints" / "two_objects"


def default_cache() -> Path:
    """``svitt/features`` in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "svitt" / "features"


def find_videos(folder: Path) -> list[Path]:
    """All video files below a folder, sorted. Errors: ConfigError where there is none."""
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; give one with videos in it")
    found = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix.lower() in VIDEOS)
    if not found:
        raise ConfigError(f"{folder}: no video in it; looked for {', '.join(sorted(VIDEOS))}")
    return found


def as_input(frames: Frames, size: int) -> torch.Tensor:
    """uint8 (T, H, W, 3) -> float (1, T, 3, size, size), by area, as the world's clips are shown."""
    clip = normalise(frames)
    resized = F.interpolate(clip, (size, size), mode="area") if clip.shape[-2:] != (size, size) else clip
    return resized[None]


def embed_text(model: SavedModel, text: str, device: str) -> tuple[npt.NDArray[np.float32], tuple[str, ...]]:
    """The text's embedding (D,), and the words that the tokenizer does not know.

    Errors: ConfigError for a text without a known word; CheckpointError for a model without a tokenizer.
    """
    if model.tokenizer is None:
        raise CheckpointError("the checkpoint has no tokenizer.json; save it with save_model(..., tokenizer)")
    words = clean_caption(text).split()
    unknown = tuple(word for word in words if _unknown(model.tokenizer, word))
    if len(unknown) == len(words):
        raise ConfigError(f"{text!r}: no word of it is known to this model; its captions are like "
                          f"{model.card.get('caption', 'those it was trained on')!r}")  # fmt: skip
    network = model.model
    length = network.config.text.max_length
    ids, mask = (part.to(device) for part in encode(model.tokenizer, [" ".join(words)], length))
    with torch.no_grad():
        embedding = (
            network.text_embedding(ids, mask)
            if isinstance(network, SViTT)
            else network.encode_text(ids, mask)
        )
    return embedding[0].float().cpu().numpy(), unknown


def _unknown(tokenizer: Tokenizer, word: str) -> bool:
    unknown = tokenizer.token_to_id("[UNK]")
    return unknown is not None and unknown in tokenizer.encode(word, add_special_tokens=False).ids


def embed_video(model: SavedModel, path: Path, device: str) -> dict[str, npt.NDArray[np.generic]]:
    """``embedding`` (D,) and ``frames`` (T,) of one video. Errors: VideoDecodeError."""
    network = model.model
    video = network.config.video
    shown = sample_clip(path, Sampling(video.num_frames))  # the middle of each of equal intervals
    clip = as_input(shown.frames, video.image_size).to(device)
    with torch.no_grad():
        embedding = (
            network.video_embedding(clip) if isinstance(network, SViTT) else network.encode_video(clip)
        )
    return {"embedding": embedding[0].float().cpu().numpy(), "frames": shown.indices}


def search(
    text: str,
    videos: Sequence[Path],
    model: SavedModel,
    weights: str,
    cache: FeatureCache,
    device: str = "cpu",
) -> Ranking:
    """Ranks videos by similarity to a text; those that cannot be read are listed, never skipped silently.

    weights: a digest of the model, part of the key under which an encoded video is kept.
    """
    query, unknown = embed_text(model, text, device)
    hits, unreadable = [], {}
    for path in tqdm(videos, desc="videos", unit="video", leave=False):
        try:
            key = digest(path, weights, "search 1")
            found = cache.get(key, lambda path=path: embed_video(model, path, device))  # type: ignore[misc]
        except VideoDecodeError as error:
            unreadable[str(path)] = str(error)
            continue
        except OSError as error:
            unreadable[str(path)] = error.strerror or str(error)
            continue
        score = float(found["embedding"].astype(np.float32) @ query)
        hits.append(Hit(str(path), score, tuple(int(n) for n in found["frames"])))
    hits.sort(key=lambda hit: (-hit.score, hit.video))
    return Ranking(text, tuple(hits), unreadable, unknown)


def contact_sheet(ranking: Ranking, top: int, out: Path) -> None:
    """A film strip for each of the best, with its score and name, as PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from svitt.viz.plots import film_strips, set_style

    set_style()
    strips = {}
    for place, hit in enumerate(ranking.hits[:top], start=1):
        frames = read_clip(hit.video, hit.frames)
        strips[f"{place}. {'/'.join(Path(hit.video).parts[-2:])}  {hit.score:.3f}"] = (
            frames,
            [n + 1 for n in hit.frames],
        )
    figure = film_strips(strips)
    figure.suptitle(ranking.text)
    figure.savefig(out, dpi=120, bbox_inches="tight")
    plt.close(figure)


def call(args: argparse.Namespace) -> int:
    """0: done; 1: some file could not be read (the others are ranked)."""
    require(args.top >= 1, "--top", args.top, "integers from 1")
    folder = args.checkpoint or default_checkpoint()
    model = load_model(folder, args.device)
    videos = find_videos(args.videos)
    cache = FeatureCache(args.cache or default_cache())
    ranking = search(args.text, videos, model, digest(folder / WEIGHTS), cache, args.device)
    for place, hit in enumerate(ranking.hits[: args.top], start=1):
        print(f"{place:3}  {hit.score:+.3f}  {hit.video}")
    if ranking.unknown:
        print(f"svitt: words the model never met: {', '.join(ranking.unknown)}", file=sys.stderr)
    for path, reason in ranking.unreadable.items():
        print(f"svitt: not read: {path}: {reason}", file=sys.stderr)
    if args.json is not None:
        args.json.write_text(json.dumps(asdict(ranking), indent=1) + "\n", encoding="utf-8")
    if args.sheet is not None and ranking.hits:
        contact_sheet(ranking, args.top, args.sheet)
    return 1 if ranking.unreadable else 0

"""``svitt ego evaluate``: EgoMCQ, the number that the egocentric papers quote, for anyone's model."""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

from svitt.atomic import write_atomically
from svitt.commands.ego_answers import Answers, Journal, answer, margins, read_choices
from svitt.config import require
from svitt.data.annotations.egomcq import EgoQuestion, EgoQuestions, load_egomcq
from svitt.data.video.chunks import EGOVLP, LAVILA, ChunkedVideos, ChunkLayout
from svitt.errors import AnnotationError
from svitt.evaluation.feature_cache import digest
from svitt.evaluation.multiple_choice import ChoiceScores, score_multiple_choice
from svitt.experiments.ch01_frame_shuffle.real_models import own_encode
from svitt.integrations.similarity import open_similarity
from svitt.ledger.statistics import bootstrap_interval

LAYOUTS = {"egovlp": EGOVLP, "lavila": LAVILA}
ANSWERS, SUMMARY = "answers.jsonl", "summary.json"


def layout_from(text: str) -> ChunkLayout:
    """ "egovlp", "lavila", or e.g. "8,number": seconds of a chunk, and how chunks are named."""
    if text in LAYOUTS:
        return LAYOUTS[text]
    found = re.fullmatch(r"(\d+),(number|second)", text)
    if found is None or int(found[1]) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected egovlp, lavila, or e.g. 8,number")
    return ChunkLayout(int(found[1]), "number" if found[2] == "number" else "second")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions and their options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    asked = actions.add_parser(
        "evaluate",
        help="accuracy on EgoMCQ, inter- and intra-video; the same command goes on where it stopped",
    )
    asked.add_argument("--mcq", type=Path, required=True, help="egomcq.json")
    asked.add_argument("--videos", type=Path, required=True, help="folder of the chunked videos")
    asked.add_argument(
        "--checkpoint",
        required=True,
        help="folder of a saved model, or folder or hub name of one of transformers, as of `svitt probe`",
    )
    asked.add_argument(
        "--layout",
        type=layout_from,
        default=EGOVLP,
        help="of the chunks: egovlp ({uid}/{k}.mp4 of 600 s, the default), lavila ({uid}.mp4/{second}.mp4 of "
        "300 s), or e.g. 8,number",
    )
    asked.add_argument("--frames", type=int, default=4, help="of a clip, for models that take any (4)")
    asked.add_argument("--device", default="cpu")
    asked.add_argument("--seed", type=int, default=0, help="of the intervals' bootstrap (0)")
    asked.add_argument("--out", type=Path, help="folder of answers, summary and film strips; made if missing")
    asked.add_argument("--worst", type=int, default=0, help="film strips of the worst so many questions (0)")


def call(args: argparse.Namespace) -> int:
    """0: done; 1: some clip could not be read (the other questions are answered)."""
    require(args.frames >= 1, "--frames", args.frames, "integers from 1")
    require(args.worst >= 0, "--worst", args.worst, "integers from 0")
    require(
        not args.worst or args.out is not None, "--out", args.out, "a folder for the film strips of --worst"
    )
    asked = load_egomcq(args.mcq)
    print(f"{args.mcq.name}: {asked.report()}", flush=True)
    model = open_similarity(args.checkpoint, own_encode, args.frames, args.device)
    about = {
        "checkpoint": checkpoint_name(args.checkpoint),
        "mcq_sha256": digest(args.mcq),
        "frames": model.num_frames,
        "layout": [args.layout.seconds, args.layout.naming],
    }
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
    journal = Journal(None if args.out is None else args.out / ANSWERS, about)
    videos = ChunkedVideos(args.videos, args.layout)
    answers = answer(model, asked.questions, videos, journal)
    scored = scored_answers(asked.questions, answers)
    found = accuracies(scored, args.seed)
    for kind, part in found.items():
        interval = f"[{100 * part['low']:.1f}, {100 * part['high']:.1f}]"
        asked_of = f"{part['questions']} questions of {part['videos']} videos"
        print(f"  {kind:11}  {100 * part['accuracy']:5.1f}%  {interval}  {asked_of}")
    for name, reason in list(answers.failed.items())[:10]:
        print(f"svitt: question {name} not asked: {reason}", file=sys.stderr)
    if len(answers.failed) > 10:
        print(f"svitt: and {len(answers.failed) - 10} more; all stand in the answers", file=sys.stderr)
    if args.out is not None:
        summary = about | {"accuracy": found, "report": asked.report(), "not_asked": answers.failed}
        write_atomically(args.out / SUMMARY, (json.dumps(summary, indent=1) + "\n").encode())
        print(f"written: {args.out / SUMMARY}")
        _strips(asked, answers, videos, model.num_frames, args)
    return 1 if answers.failed else 0


def checkpoint_name(checkpoint: str) -> str:
    """A name of the model; of a folder with a digest of its configuration and weights, never its place."""
    folder = Path(checkpoint)
    if not folder.is_dir():
        return checkpoint
    kinds = (".json", ".safetensors", ".bin")
    files = [path for path in sorted(folder.iterdir()) if path.suffix in kinds]
    return f"{folder.resolve().name}@{digest(*files)[:16]}"


def scored_answers(questions: tuple[EgoQuestion, ...], answers: Answers) -> ChoiceScores:
    """Right and wrong, of the questions that were asked. Errors: AnnotationError where none was."""
    done = [question for question in questions if question.question_id in answers.scores]
    if not done:
        first = next(iter(answers.failed.items()))
        raise AnnotationError(f"not one question could be asked; the first, {first[0]}: {first[1]}")
    return score_multiple_choice(
        np.stack([answers.scores[question.question_id] for question in done]),
        np.array([question.answer for question in done]),
        [question.kind for question in done],
        [question.query.video_uid for question in done],
    )


def accuracies(scored: ChoiceScores, seed: int) -> dict[str, dict[str, Any]]:
    """By kind: accuracy, its 95% interval over whole videos, and how many questions and videos there are."""
    found = scored.intervals(lambda right, videos: bootstrap_interval(right, seed, clusters=videos))
    return {
        kind: {
            "accuracy": part.accuracy,
            "low": part.low,
            "high": part.high,
            "questions": part.num_questions,
            "videos": part.num_videos,
        }
        for kind, part in found.items()
    }


def _strips(
    asked: EgoQuestions, answers: Answers, videos: ChunkedVideos, num_frames: int, args: argparse.Namespace
) -> None:
    """Film strips of the questions that were missed by most."""
    if not args.worst:
        return
    from svitt.commands.ego_strips import question_strips

    known = {question.question_id: question for question in asked.questions}
    for place, name in enumerate(list(margins(asked.questions, answers))[: args.worst], start=1):
        figure = question_strips(
            known[name], read_choices(known[name], videos, num_frames), answers.scores[name]
        )
        path = args.out / f"worst_{place:02d}_question_{re.sub(r'[^0-9A-Za-z_-]', '_', name)}.png"
        figure.savefig(path)
    print(f"written: film strips of {min(args.worst, len(answers.scores))} questions in {args.out}")

"""The captured step: on the CPU the plain one bit by bit; on a device nothing in it asks the host, so that a
CUDA graph can hold it. That on fake CUDA tensors, which have shapes and no values; a GPU test has real ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers.masking_utils
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from svitt.errors import ConfigError
from svitt.experiments.shared.tiny_models import tiny_video_config
from svitt.layers.edges import EdgeSparsity
from svitt.layers.token_pruning import NodeSparsity
from svitt.models.dual_encoder import DualEncoder, DualEncoderConfig
from svitt.models.text_encoder import TextConfig
from svitt.training.batches import Batches
from svitt.training.captured_step import MOST_GRAPHS, WARM_UP, CapturedStep, rate_on_device, shapes_of
from svitt.training.contrastive import staged_loss
from svitt.training.trainer import TrainConfig, TrainingLog, parameter_groups, train
from tests.layers.test_edge_device import NoHost
from tests.training.test_batches import TOKENIZER, noise, with_wrong

EDGES, NODES = EdgeSparsity(1, 3, 4), NodeSparsity(0.7, (0, 1))
KINDS: dict[str, dict[str, Any]] = {
    "dense": {},
    "nodes": {"nodes": NODES},
    "edges": {"edges": EDGES},
    "both": {"edges": EDGES, "nodes": NODES},
    "bias": {"position": "relative_3d", "layer_scale": 0.1, "pooling": "mean"},
}
CONFIG = TrainConfig(steps=7, batch_size=4, warmup_steps=2, checkpoint_every=3)


class NoCopy(NoHost):
    """Refuses as well to bring a number of the host to a device: a graph would not ask for it again."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = super().__torch_dispatch__(func, types, args, kwargs)
        if any(f"aten::{name}" in func.name() for name in ("copy_", "_to_copy", "lift_fresh")):
            devices = {x.device.type for x in (*args, out) if isinstance(x, Tensor)}
            assert len(devices) == 1, (func.name(), devices)
        return out


def model_of(kind: str, **sizes: Any) -> DualEncoder:
    text = TextConfig(TOKENIZER.get_vocab_size(), width=16, max_length=6)
    small = {"image_size": 16, "width": 16, "depth": 2} | sizes | KINDS[kind]
    return DualEncoder(DualEncoderConfig(tiny_video_config(2, **small), text, embed_dim=16), seed=3)


def square(count: int, seed: int) -> Any:
    return noise(count, 16, seed)[:, :, :, :16]


def batches() -> Batches:
    stages = [(0, with_wrong(square(9, 1))), (4, with_wrong(square(12, 2)))]
    return Batches(stages, TOKENIZER, 2, 4, 5, 6)


@pytest.mark.parametrize("kind", KINDS)
def test_on_the_cpu_it_is_the_plain_step(kind: str, tmp_path: Path) -> None:
    trained = [
        train(model_of(kind), batches(), staged_loss, CONFIG, tmp_path / way, progress=False, kind=way)
        for way in ("plain", "captured")
    ]
    for (name, one), (_, other) in zip(*(m.state_dict().items() for m in trained), strict=True):
        assert torch.equal(one, other), name
    logs = [TrainingLog(tmp_path / way / "log.jsonl").read() for way in ("plain", "captured")]
    for one, other in zip(*logs, strict=True):
        assert one | {"cpu_seconds": 0} == other | {"cpu_seconds": 0}
    assert [entry["step"] for entry in logs[0]] == [0, *range(CONFIG.steps)]


def fake_model(model: DualEncoder, mode: FakeTensorMode) -> DualEncoder:
    """The model on a fake CUDA device; its edges are drawn and checked before, as the first step does."""
    config = model.config.video
    model.video_encoder._patterns(config.grid[0] * config.grid[1] * config.grid[2], None)
    for (_, tokens), pattern in model.video_encoder._fixed.items():
        pattern.require_fits(tokens)
    with mode:
        for module in model.modules():
            for store in (module._parameters, module._buffers):
                for name, x in store.items():
                    if x is not None:
                        made = torch.empty(x.shape, dtype=x.dtype, device="cuda")
                        store[name] = nn.Parameter(made) if store is module._parameters else made
    return model


@pytest.mark.parametrize("kind", KINDS)
def test_forward_loss_clipping_and_update_leave_the_host_alone(kind: str) -> None:
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    model = fake_model(model_of(kind), mode)
    with mode:
        batch = {name: torch.empty_like(x, device="cuda") for name, x in batches()(0).items()}
        groups = parameter_groups(model, CONFIG.weight_decay)
        optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=CONFIG.betas, capturable=True)
        for group in optimizer.param_groups:  # what rate_on_device does, whose value a fake tensor has not
            group["lr"] = torch.full((), group["lr"], device="cuda")

    def step() -> Tensor:
        loss = staged_loss(model, batch)
        for parameter in model.parameters():  # fake tensors have no backward pass: see the next test
            parameter.grad = torch.empty_like(parameter)
        nn.utils.clip_grad_norm_(model.parameters(), CONFIG.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        return loss

    with mode:
        step()  # makes what is made once
        with NoCopy():
            assert step().device.type == "cuda"


@pytest.mark.parametrize("kind", KINDS)
def test_nor_does_the_backward_pass_need_a_value(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Under capture transformers does not look whether all words count; so on the CPU here.
    monkeypatch.setattr(transformers.masking_utils, "is_tracing", lambda tensor=None: True)
    model, batch = model_of(kind), batches()(0)
    staged_loss(model, batch).backward()
    with NoHost():
        staged_loss(model, batch).backward()


def test_the_refusal_refuses_a_copied_number() -> None:
    with FakeTensorMode(allow_non_fake_inputs=True):
        x, number = torch.ones(3, device="cuda"), torch.tensor(2.0)
        for what in (lambda: x[0].copy_(number), lambda: number.to("cuda"), lambda: x.sum().cpu()):
            with pytest.raises(AssertionError), NoCopy():
                what()


def test_a_batch_must_be_on_the_device() -> None:
    take = CapturedStep(lambda batch: batch["x"].sum(), lambda: None, torch.device("cpu"))
    assert take({"x": torch.ones(2)}) == 2
    with pytest.raises(ConfigError, match=r"batch\['step'\] = 'int'"):
        take({"x": torch.ones(2), "step": 3})
    with pytest.raises(ConfigError, match="a tensor on cuda"):
        shapes_of({"x": torch.ones(2)}, torch.device("cuda"))
    with pytest.raises(ConfigError, match="kind = 'graph'"):
        train(model_of("dense"), batches(), staged_loss, CONFIG, Path("-"), kind="graph")  # type: ignore[arg-type]


def test_a_rate_becomes_a_tensor_that_a_schedule_fills() -> None:
    optimizer = torch.optim.AdamW(model_of("dense").parameters(), lr=0.5)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
    rate_on_device(optimizer, torch.device("cpu"))
    rate = optimizer.param_groups[0]["lr"]
    optimizer.step()
    schedule.step()
    assert optimizer.param_groups[0]["lr"] is rate and float(rate) == 0.25


class FakeGraphs:
    """Stands for CUDA: "recording" runs nothing, "replaying" calls the step on the recording's inputs."""

    def __init__(self, take: CapturedStep, monkeypatch: pytest.MonkeyPatch) -> None:
        self.take, self.beside = take, 0
        monkeypatch.setattr(take, "_record", self.record)
        monkeypatch.setattr(take, "_beside", self.ran)

    def ran(self, batch: dict[str, Tensor]) -> Tensor:
        self.beside += 1
        return self.take._as_it_is(batch)

    def record(self, batch: dict[str, Tensor]) -> Any:
        inputs, loss = {name: torch.empty_like(x) for name, x in batch.items()}, torch.zeros(())

        class Recorded:
            graph = self

        Recorded.inputs, Recorded.loss = inputs, loss  # type: ignore[attr-defined]
        self.replay = lambda: loss.copy_(self.take._as_it_is(inputs))
        return Recorded


def test_a_recording_serves_one_shape_and_too_many_shapes_are_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    take = CapturedStep(lambda batch: batch["x"].sum(), lambda: None, torch.device("cuda"))
    monkeypatch.setattr("svitt.training.captured_step.shapes_of", lambda batch, device: batch["x"].shape)
    graphs = FakeGraphs(take, monkeypatch)
    losses = [take({"x": torch.full((2,), float(i))}) for i in range(WARM_UP + 3)]
    assert [float(x) for x in losses] == [2.0 * i for i in range(WARM_UP + 3)]  # copies, not one buffer
    assert graphs.beside == WARM_UP and len(take.recorded) == 1
    for size in range(3, 3 + MOST_GRAPHS - 1):
        for _ in range(WARM_UP + 1):
            take({"x": torch.ones(size)})
    assert len(take.recorded) == MOST_GRAPHS and not capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setattr(take, "_beside", graphs.ran)
    shapes = (("x", torch.float32, (99,), (1,)),)
    monkeypatch.setattr("svitt.training.captured_step.shapes_of", lambda batch, device: shapes)
    before = graphs.beside
    assert [float(take({"x": torch.ones(99)})) for _ in range(WARM_UP + 2)] == [99.0] * (WARM_UP + 2)
    assert graphs.beside == before + WARM_UP + 2
    said = capsys.readouterr().err
    assert said.count(f"more than {MOST_GRAPHS} shapes") == 1 and "x (99,)" in said


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("kind", KINDS)
def test_on_a_gpu_recorded_steps_train_as_plain_ones(kind: str, tmp_path: Path) -> None:
    config = TrainConfig(steps=12, batch_size=4, warmup_steps=2, checkpoint_every=9)
    stages = [(0, with_wrong(square(9, 1))), (6, with_wrong(square(12, 2)))]
    losses = []
    for way in ("plain", "captured"):
        made = Batches(stages, TOKENIZER, 2, 4, 5, 6, device="cuda")
        train(
            model_of(kind), made, staged_loss, config, tmp_path / way, device="cuda", progress=False, kind=way
        )
        losses.append(TrainingLog(tmp_path / way / "log.jsonl").losses())
    assert losses[0].keys() == losses[1].keys()
    for step, loss in losses[0].items():
        assert losses[1][step] == pytest.approx(loss, rel=1e-3), step

"""A training step as one CUDA graph: what a GPU does in it is recorded once and repeated without the host.

A small model's step is hundreds of short kernels, and a GPU waits for the host to ask for each. A graph holds
them all, with the addresses of their tensors: a batch is copied into those of the recording.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from svitt.config import require

StepKind = Literal["plain", "captured"]
Shapes = tuple[tuple[str, torch.dtype, tuple[int, ...], tuple[int, ...]], ...]
WARM_UP = 3  # steps of a shape before it is recorded: libraries choose their kernels and take their memory
MOST_GRAPHS = 8  # each keeps the activations of its step


@dataclass
class _Recorded:
    graph: torch.cuda.CUDAGraph
    inputs: dict[str, Tensor]
    loss: Tensor


@dataclass
class CapturedStep:
    """Steps of training on ``device``: on CUDA from recordings, one per shape of batch; elsewhere plain.

    update: batch -> loss (scalar): forward, backward, clipping and the optimizer's update, all in tensors on
    the device. It must read no value on the host and draw no number there: a graph would repeat what it saw.
    forget: drops the gradients. The optimizer must be capturable, its learning rate a tensor on the device.
    """

    update: Callable[[Mapping[str, Any]], Tensor]
    forget: Callable[[], object]
    device: torch.device
    recorded: dict[Shapes, _Recorded] = field(default_factory=dict)
    met: dict[Shapes, int] = field(default_factory=dict)
    _stream: Any = None

    def __call__(self, batch: Mapping[str, Any]) -> Tensor:
        """One step on a batch of tensors; its loss, a scalar on the device, not waited for.

        Errors: ConfigError for what is no tensor on the device.
        """
        shapes = shapes_of(batch, self.device)
        if self.device.type != "cuda":
            return self._as_it_is(batch)
        self.met[shapes] = self.met.get(shapes, 0) + 1
        if shapes not in self.recorded:
            if self.met[shapes] <= WARM_UP or len(self.recorded) >= MOST_GRAPHS:
                self._warn(shapes)
                return self._beside(batch)
            self.recorded[shapes] = self._record(batch)
        found = self.recorded[shapes]
        for name, tensor in batch.items():
            found.inputs[name].copy_(tensor)
        found.graph.replay()
        return found.loss.clone()

    def _as_it_is(self, batch: Mapping[str, Any]) -> Tensor:
        loss = self.update(batch).detach()
        self.forget()
        return loss

    def _beside(self, batch: Mapping[str, Any]) -> Tensor:
        """The step on the stream of the recordings: what libraries keep by stream is then there for them."""
        self._stream = self._stream or torch.cuda.Stream(self.device)
        self._stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self._stream):
            loss = self._as_it_is(batch)
        torch.cuda.current_stream(self.device).wait_stream(self._stream)
        return loss

    def _record(self, batch: Mapping[str, Any]) -> _Recorded:
        """Nothing is computed while it records. The gradients are dropped first, so that those of the graph
        are written anew at every repetition."""
        inputs = {name: torch.empty_like(tensor) for name, tensor in batch.items()}
        self.forget()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self._stream):
            loss = self.update(inputs).detach()
        self.forget()
        return _Recorded(graph, inputs, loss)

    def _warn(self, shapes: Shapes) -> None:
        if len(self.recorded) >= MOST_GRAPHS and self.met[shapes] == 1:
            sizes = ", ".join(f"{name} {size}" for name, _, size, _ in shapes)
            print(
                f"batches of more than {MOST_GRAPHS} shapes; those with {sizes} are trained without a CUDA "
                "graph, one kernel at a time; give all batches one shape, or leave out --captured",
                file=sys.stderr,
            )


def shapes_of(batch: Mapping[str, Any], device: torch.device) -> Shapes:
    """What a recording is of. Errors: ConfigError for what is no tensor on the device: it would be copied by
    the host in every step, or stay what it was at the first."""
    for name, x in batch.items():
        place = x.device.type if isinstance(x, Tensor) else type(x).__name__
        require(place == device.type, f"batch[{name!r}]", place, f"a tensor on {device.type}")
    return tuple((name, x.dtype, tuple(x.shape), x.stride()) for name, x in sorted(batch.items()))


def rate_on_device(optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    """Turns the learning rates into tensors on the device, which a recording reads at every repetition and a
    schedule fills."""
    for group in optimizer.param_groups:
        group["lr"] = torch.full((), float(group["lr"]), device=device)

"""Batches that are augmented on the device: to the last bit, and in memory, those of the host."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from svitt.data.device_transforms import augment_there, draw_augmentation, pixel_values
from svitt.data.transforms import augment
from svitt.errors import ConfigError
from svitt.training.batches import Batches, one_stage
from tests.training.test_batches import CAPTIONS, GOLDEN, TOKENIZER, digest, noise, with_wrong


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name
        about = [(x.dtype, x.shape, x.stride()) for x in (tensor, other[name])]
        assert about[0] == about[1], name  # a convolution rounds otherwise in another layout


@pytest.mark.parametrize("name", GOLDEN)
def test_they_are_the_golden_batches(name: str) -> None:
    make, golden = GOLDEN[name]
    made = replace(make(), place="device")
    assert [digest(made(step)) for step in (0, 1, 2, 3, 4, 9, 8)] == golden.split()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("frames", [1, 3, 6, 8])  # 8: more than a clip has
@pytest.mark.parametrize("shift", [0, 4, 30, None])  # 30: further than the picture reaches
def test_they_are_those_of_the_host(seed: int, frames: int, shift: int | None) -> None:
    single = one_stage(noise(20, 16, seed), CAPTIONS, TOKENIZER, frames, 7, seed, max_shift=shift)
    stages = [(0, with_wrong(noise(9, 16, seed))), (3, with_wrong(noise(20, 24, seed + 1)))]
    staged = Batches(stages, TOKENIZER, frames, 4, seed, 6, max_shift=shift)
    for host in (single, staged):
        there = replace(host, place="device", resident={})
        for step in (0, 2, 3, 17, 1):
            assert_same(host(step), there(step))
        assert len(there.resident) == 1 and not host.resident


def test_the_draws_leave_the_generator_where_augment_leaves_it() -> None:
    clips, captions = noise(6, 16, 0), CAPTIONS[:6]
    one, other = (np.random.default_rng(3) for _ in "12")
    wanted, texts = augment(clips, captions, 2, one, 3, flip_probability=0.3)
    how = draw_augmentation(6, clips.shape[1], 2, other, 3, flip_probability=0.3)
    assert torch.equal(augment_there(torch.from_numpy(clips), range(6), how), wanted)
    assert how.texts(captions) == texts
    assert one.random() == other.random()


def test_clips_are_uploaded_once_and_only_for_a_gpu_by_default() -> None:
    host = one_stage(noise(20, 16, 0), CAPTIONS, TOKENIZER, 2, 5, 0)
    host(0)
    assert not host.resident
    made = replace(host, place="device")
    made(0)
    first = made.resident[0]
    made(3)
    assert made.resident[0] is first and first.dtype == torch.uint8
    with FakeTensorMode():
        batch = replace(host, device="cuda", resident={}, known={})
        assert batch._is_on_device() and not replace(batch, place="host")._is_on_device()
    with pytest.raises(ConfigError, match="place = 'gpu'"):
        replace(host, place="gpu")  # type: ignore[arg-type]


def test_all_pixel_values_are_those_of_the_transform() -> None:
    values = pixel_values(torch.device("cpu"))
    assert values[0] == -1 and values[255] == 1
    assert torch.equal(values, torch.arange(256).float().div(127.5).sub(1))

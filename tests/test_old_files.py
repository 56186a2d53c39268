"""Files of versions before there were digests, which are here for good."""

import warnings
from pathlib import Path

import pytest
import torch

from torch_sake import load_potential
from torch_sake.datasets import FramesOnDisk

FOLDER = Path(__file__).parent / 'old_files'
Z = torch.tensor([8, 1, 1])
POS = torch.tensor([[0, 0, 0.1], [0.75, 0, -0.5], [-0.8, 0.1, -0.45]])


def load_with_one_warning(load, path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        loaded = load(path)
    message, = [str(warning.message) for warning in caught]
    assert message.startswith(f"'{path}' is of an older version")
    assert '\n' not in message
    return loaded


def test_checkpoint():
    path = FOLDER / 'potential.safetensors'
    potential = load_with_one_warning(load_potential, path).double()
    energy, forces, _ = potential(Z, POS.double())
    assert float(energy) == pytest.approx(-10.232298026486323, rel=1e-9)
    expected = torch.tensor([
        [-6.736978751241678e-05, 0.0002420789833475217, -0.002826844030448742],
        [-0.002141630949036755, 1.7572185273086593e-05, 0.001504195761728484],
        [0.0022090007365491715, -0.0002596511686206083, 0.0013226482687202575],
    ]).double()
    assert torch.allclose(forces, expected, rtol=1e-5, atol=1e-9)


def test_frames():
    path = FOLDER / 'water.frames'
    frames = load_with_one_warning(FramesOnDisk, path)
    assert len(frames) == 4 and frames.num_atoms.tolist() == [3, 3, 3, 3]
    assert frames.elements == [1, 8]
    assert frames[2].energy.tolist() == [-9.803974168355003]
    assert frames[2].pos.tolist() == [
        [0.03919877, 0.07467156, 0.03704672],
        [0.83569619, 0.06729377, -0.44093443],
        [-0.74677722, -0.01569614, -0.40709897]]
    assert frames[2].force.tolist() == [
        [0.54049046, 0.39453113, 0.10721412],
        [-0.36249559, -0.00133624, 0.19694248],
        [-0.38650844, 0.11853662, 0.12895911]]


def test_damaged_rows(tmp_path):
    content = bytearray((FOLDER / 'water.frames').read_bytes())
    expected = FramesOnDisk(FOLDER / 'water.frames')[2]
    content[content.index(expected.pos.numpy().tobytes()) + 3] ^= 4
    path = tmp_path / 'm.frames'
    path.write_bytes(content)
    frames = load_with_one_warning(FramesOnDisk, path)
    with pytest.raises(ValueError, match="m.frames', frame 2: .* not what"):
        frames[2]
    assert frames[1].pos.isfinite().all()

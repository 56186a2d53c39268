import numpy
import pytest
import torch

from torch_sake.datasets import Frames, FramesOnDisk, write_frames
from torch_sake.datasets.frames.duplicates import (
    BLOCK,
    match_keys,
    same_structure,
    structure_keys,
)

UNITS = {'length': 'Angstrom', 'energy': 'eV'}


def build(z, pos, **arrays):
    return Frames(z, pos, [0.0] * len(z), name='some', units=UNITS,
                  source='some.xyz', **arrays)


@pytest.fixture
def arrays():
    generator = numpy.random.default_rng(0)
    sizes = generator.integers(1, 9, 40)
    return dict(z=[generator.integers(1, 9, size) for size in sizes],
                pos=[generator.normal(0, 2, (size, 3)) for size in sizes])


def test_equal_structures_have_equal_keys(arrays):
    frames = build(**arrays)
    keys = structure_keys(frames)
    assert keys[:, 0].unique().numel() == len(frames)
    # As a file of eight digits has them, and behind others:
    rounded = build(arrays['z'][::-1], [pos.round(8) for pos in
                                        arrays['pos'][::-1]])
    assert match_keys(keys, structure_keys(rounded)).tolist() == list(
        range(40))[::-1]
    assert structure_keys(frames[[7, 3]]).equal(keys[[7, 3]])
    assert structure_keys(frames[:0]).numel() == 0


def test_other_structures_have_other_keys(arrays):
    keys = structure_keys(build(**arrays))
    moved = [pos.copy() for pos in arrays['pos']]
    for pos in moved:
        pos[-1, 1] += 1e-3
    assert not (structure_keys(build(arrays['z'], moved)) == keys).any()
    z = [numbers.copy() for numbers in arrays['z']]
    for numbers in z:
        numbers[0] += 1
    assert not (structure_keys(build(z, arrays['pos'])) == keys).any()
    order = [numpy.arange(len(numbers))[::-1] for numbers in z]
    turned = build([z[i] for z, i in zip(arrays['z'], order)],
                   [pos[i] for pos, i in zip(arrays['pos'], order)])
    large = torch.tensor([len(numbers) > 1 for numbers in z])
    assert not (structure_keys(turned) == keys)[large].any()


def test_cells_count(arrays):
    cell = numpy.tile(5 * numpy.eye(3), (40, 1, 1))
    keys = structure_keys(build(**arrays, cell=cell))
    assert not (keys == structure_keys(build(**arrays))).any()
    strained = build(**arrays, cell=1.001 * cell)
    assert not (keys == structure_keys(strained)).any()
    # A molecule has no cell, or one of zeros:
    molecules = build(**arrays, cell=0 * cell, pbc=numpy.zeros((40, 3)))
    assert structure_keys(molecules).equal(structure_keys(build(**arrays)))


def test_keys_do_not_depend_on_blocks_and_place(arrays, tmp_path):
    frames = build(**arrays)
    keys = structure_keys(frames)
    write_frames([frames], tmp_path / 'some.frames')
    on_disk = FramesOnDisk(tmp_path / 'some.frames')
    assert structure_keys(on_disk).equal(keys)
    times = BLOCK // int(frames.num_atoms.sum()) + 2
    many = frames[list(range(40)) * times]
    assert structure_keys(many).equal(keys.repeat(times, 1))


def test_same_structure(arrays):
    frames = build(**arrays)
    index = int(frames.num_atoms.argmax())
    data = frames[index]
    other = data.clone()
    other.pos = data.pos + 9e-7
    assert same_structure(data, other)
    other.pos = data.pos + 1.1e-6
    assert not same_structure(data, other)
    other = data.clone()
    other.z = data.z + 1
    assert not same_structure(data, other)
    other = data.clone()
    other.cell = torch.eye(3).double().unsqueeze(0)
    assert not same_structure(data, other)
    assert not same_structure(data, frames[(index + 1) % 40])


def test_rounding_hides_no_structure():
    """Of structures that differ by rounding, most have one of the two keys in
    common."""
    generator = numpy.random.default_rng(0)
    pos = generator.normal(0, 2, (2000, 5, 3))
    z = [[1] * 5] * 2000
    keys = structure_keys(build(z, list(pos)))
    for digits, share in ((8, 1.0), (6, 0.99)):
        rounded = structure_keys(build(z, list(pos.round(digits))))
        found = match_keys(keys, rounded) == torch.arange(2000)
        assert found.double().mean() >= share
    assert not rounded[:, 0].equal(keys[:, 0])


def find_repeats(frames):
    """The frames that were there before, each with the first one of them."""
    keys = structure_keys(frames)
    first = match_keys(keys, keys).tolist()
    return [(index, other) for index, other in enumerate(first)
            if index != other and same_structure(frames[index],
                                                 frames[other])]


def test_repeats(arrays):
    frames = build(**arrays)
    assert find_repeats(frames) == []
    some = frames[[3, 5, 3, 1, 5, 5]]
    assert find_repeats(some) == [(2, 0), (4, 1), (5, 1)]
    assert match_keys(structure_keys(frames[:0]), structure_keys(
        frames[:2])).tolist() == [-1, -1]

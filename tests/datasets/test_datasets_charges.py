import warnings

import numpy as np
import pytest
import torch
from torch_geometric.loader import DataLoader

from torch_sake.datasets import (
    Frames,
    FramesOnDisk,
    convert_frames,
    load_frames,
    write_frames,
)
from torch_sake.datasets.frames.charges import (
    State,
    frame_states,
    learned_states,
    names_of,
    state_of,
    with_states,
)
from torch_sake.datasets.frames.fingerprint import frames_fingerprint

WATER = [8, 1, 1]


def build(infos, z=None):
    z = z or len(infos) * [WATER]
    torch.manual_seed(0)
    return Frames([torch.tensor(one) for one in z],
                  [torch.randn(len(one), 3) for one in z],
                  list(range(len(z))), name='ions', source='ions.xyz',
                  units={'length': 'Angstrom', 'energy': 'eV'}, infos=infos)


@pytest.mark.parametrize('info, state', [
    ({}, State()), ({'charge': 1}, State(1)), ({'spin': 3.0}, State(None, 3)),
    ({'total_charge': -2.0, 'multiplicity': '2', 'x': 'y'}, State(-2, 2)),
    ({'charge': '+1', 'total_charge': 1, 'total_spin': 1}, State(1, 1)),
    ({'charge': np.int64(1), 'spin_multiplicity': np.array([2])}, State(1, 2)),
], ids=str)
def test_what_is_said(info, state):
    assert state_of(info, 'here') == state


@pytest.mark.parametrize('info, message', [
    ({'charge': 1, 'total_charge': -1},
     r"'charge' and 'total_charge' must be the same \(got 1 and -1\)"),
    ({'spin': 1, 'multiplicity': 1, 'total_spin': 3},
     r"'spin' and 'total_spin' must be the same \(got 1 and 3\)"),
    ({'charge': 0.5}, r"'charge' must be an integer \(got 0.5\)"),
    ({'charge': 'plus'}, r"'charge' must be an integer \(got 'plus'\)"),
    ({'charge': True}, r"'charge' must be an integer \(got True\)"),
    ({'charge': float('nan')}, r"'charge' must be an integer \(got nan\)"),
    ({'charge': np.ones(2)}, "'charge' must be an integer"),
    ({'charge': 10**309}, "'charge' must be an integer"),
    ({'spin': 0}, r"'spin' must be a multiplicity 2S \+ 1, from 1 on, 1 for a "
                  r"singlet \(got 0\)"),
    ({'multiplicity': 1.5}, "'multiplicity' must be an integer"),
], ids=lambda value: str(value)[:40])
def test_what_cannot_be(info, message):
    with pytest.raises(ValueError, match=f'here: {message}'):
        state_of(info, 'here')


def test_errors_name_the_frame():
    for info in ({'charge': 1, 'total_charge': -1}, {'charge': 0.5}):
        frames = build([{}, {}, info])
        for part, embed in ((frames, True), (frames[1:], False)):
            with pytest.raises(ValueError, match="'ions.xyz', frame 2: '"):
                with_states(part, embed)


def test_one_value_is_fine():
    for infos, expected in (([{}, {}], []), ([{'charge': -1}] * 2, [[-1, 1]]),
                            ([{'charge': 1, 'spin': 2}] * 2, [[1, 2]]),
                            ([{'charge': 0}, {}], [[0, 1]])):
        frames, states = with_states(build(infos), False)
        assert states == expected and not frames.entries
        assert 'charge' not in frames[0]


@pytest.mark.parametrize('infos, message', [
    ([{}, {'charge': 0}, {'charge': 1}],
     r"'charge' must be the same .* unless 'embed_charge' is set "
     r"\(got 0 in 'ions.xyz', frame 0 and 1 in 'ions.xyz', frame 2\)"),
    ([{'charge': 1}, {}, {'charge': 1}],
     r'got 1 in .*frame 0 and 0 in .*frame 1'),
    ([{'spin': 1}, {'spin': 1}, {'spin': 3}],
     r"'spin' must be the same .*got 1 in .*frame 0 and 3 in .*frame 2"),
], ids=str)
def test_differing_values(infos, message):
    frames = build(infos)
    with pytest.raises(ValueError, match=message):
        with_states(frames, False)
    with pytest.raises(ValueError, match=r'frame 2 and . in .*frame'):
        with_states(frames[[2, 1, 0]], False)
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', '.*electrons')
        embedded, _ = with_states(frames, True)
    data = next(iter(DataLoader(embedded, batch_size=3)))
    assert data.charge.tolist() == [info.get('charge', 0) for info in infos]
    assert data.spin.tolist() == [info.get('spin', 1) for info in infos]
    assert learned_states(embedded) == [list(pair) for pair in sorted(
        {*zip(data.charge.tolist(), data.spin.tolist())})]
    assert learned_states(embedded[1:]) == learned_states(embedded)
    # A part of them, and what tells the data from others:
    assert embedded[2:][0].charge == data.charge[2]
    assert frames_fingerprint(embedded) == frames_fingerprint(frames)


def test_atoms_alone():
    """They have a spin of their own, but a charge is one."""
    infos = [{'spin': 3}, {'spin': 2}, {'charge': -1, 'spin': 1},
             {'charge': -1}]
    frames = build(infos, [[8], [1], [8, 1], [8, 1]])
    assert with_states(frames, False)[1] == [[-1, 1]]
    frames = build([*infos, {'charge': 1}], [[8], [1], [8, 1], [8, 1], [11]])
    with pytest.raises(ValueError, match='got -1 in .* 2 and 1 in .* 4'):
        with_states(frames, False)
    with pytest.raises(ValueError, match='got 3 in .* 0 and 2 in .* 1'):
        with_states(build(infos[:2], [[8], [1]]), False)


def test_entries_come_first():
    frames = build([{'charge': 1, 'spin': 2}] * 2)
    frames = frames.with_entries(charge=torch.tensor([0, -1]))
    assert frame_states(frames, True) == [State(0, 2), State(-1, 2)]


def test_numbers_of_electrons():
    frames = build([{'spin': 1}, {'charge': 1, 'spin': 2}, {'charge': 1},
                    {'spin': 2}, {'spin': 2}])
    with pytest.warns(UserWarning) as found:
        with_states(frames, True)
    assert [str(warning.message) for warning in found] == [
        "'ions.xyz', frame 2: 9 electrons cannot have the multiplicity 2S + "
        '1 = 1 (the frame says a charge of 1 and no spin, which counts as 1; '
        'this warning is for the first such frame)']
    with pytest.warns(UserWarning, match='frame 0: 10 electrons cannot have '
                      r'.* = 2 \(the frame says a charge of 0 and a spin of'):
        with_states(build([{'spin': 2}] * 2), False)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        with_states(build([{}, {'charge': -1}], [[1], [8, 1]]), True)
        with_states(build([{'charge': 1}] * 2), False)
        with_states(build([{'charge': 1, 'spin': 2}, {}]), True)


def test_nothing_to_learn():
    for infos, message in (([{}, {}], 'charge 0 and spin 1, which they have'),
                           ([{'charge': 2}] * 2, 'charge 2 and spin 1,')):
        frames, _ = with_states(build(infos), True)
        assert 'charge' in frames[0]
        with pytest.warns(UserWarning, match="'embed_charge' can teach "
                          f'nothing: all .* {message}'):
            assert len(learned_states(frames)) == 1
    frames, _ = with_states(build([{}, {'charge': 1, 'spin': 2}]), True)
    with pytest.warns(UserWarning, match='can teach nothing'):
        learned_states(frames[:1])


def test_other_words_for_spin():
    """What is no multiplicity matters only where it is embedded."""
    frames = build([{'spin': 0, 'charge': 1}, {'spin': 0.5, 'charge': 1}])
    with pytest.warns(UserWarning, match="'ions.xyz', frame 0: 'spin' must be "
                      'a multiplicity .* It is left out') as found:
        assert with_states(frames, False)[1] == [[1, 1]]
    assert len(found) == 1
    with pytest.raises(ValueError, match='frame 0: .*multiplicity'):
        with_states(frames, True)


def test_words():
    assert names_of({(1, 2), (0, 1), (-1, 1)}) == '-1 and 1, 0 and 1, +1 and 2'


def test_files(tmp_path):
    """Text, frames on disk, and several files."""
    ase_io = pytest.importorskip('ase.io')
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator
    paths, number = [], 0
    for name, states in (('a', [(0, 1), (1, 2)]), ('b', [(-1, 2), (0, 3)])):
        frames = []
        for charge, spin in states:
            atoms = Atoms('OH2', np.eye(3), info={
                'total_charge': charge, 'multiplicity': spin})
            atoms.calc = SinglePointCalculator(atoms, energy=float(number))
            frames.append(atoms)
            number += 1
        paths.append(str(tmp_path / f'{name}.extxyz'))
        ase_io.write(paths[-1], frames)
    convert_frames(paths[1], tmp_path / 'b.frames')
    for data in (paths, [paths[0], str(tmp_path / 'b.frames')]):
        frames = load_frames(data)
        embedded, _ = with_states(frames, True)
        batch = next(iter(DataLoader(embedded[[3, 1, 0, 2]], batch_size=4)))
        assert batch.energy.tolist() == [3, 1, 0, 2]
        assert batch.charge.tolist() == [0, 1, 0, -1]
        assert batch.spin.tolist() == [3, 2, 1, 2]
        assert learned_states(embedded) == [[-1, 2], [0, 1], [0, 3], [1, 2]]
        with pytest.raises(ValueError, match=r'got 0 in .*a.extxyz., frame 0 '
                           r'and -1 in .*b\..*., frame 0'):
            with_states(frames[[0, 2]], False)


def test_frames_that_say_nothing_are_not_read(tmp_path, monkeypatch):
    frames = build([{'config_type': 'a'}, {'config_type': 'b'}])
    write_frames([frames], tmp_path / 'some.frames')
    monkeypatch.setattr(FramesOnDisk, 'info', None)
    frames = FramesOnDisk(tmp_path / 'some.frames')
    assert frame_states(frames, True) == 2 * [State()]


def test_initial_charges(tmp_path):
    from ase.build import molecule
    from ase.io import write
    frames = []
    for charges, info in (([0, 0, 0], {}), ([-0.8, 0.4, 0.4], {}),
                          ([1, 0, 0], {'charge': 1}), ([0.6, 0.2, 0.2], {}),
                          ([-1, 0, 0], {}), ([1, 0, 0], {})):
        frames.append(molecule('H2O'))
        frames[-1].set_initial_charges(charges)
        frames[-1].info.update(info)
    for name in ('ions.xyz', 'ions.traj'):
        path = str(tmp_path / name)
        write(path, frames)
        with pytest.warns(UserWarning) as found:
            load_frames(path)
        assert [str(warning.message) for warning in found] == [
            f"'{path}', frame 3: the initial charges add up to 1 (those of "
            f"others to -1), but 'charge' is not given in info: it is taken "
            f"as 0"]
        write(path, frames[:3])
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            load_frames(path)


def test_numbers_of_electrons_where_nothing_is_said():
    with pytest.warns(UserWarning, match='frame 1: 9 electrons cannot'):
        with_states(build([{}, {}], [[8], [8, 1]]), True)


def test_numbers_of_electrons_in_an_evaluation():
    from torch_sake import Potential, VectorSAKE
    from torch_sake.evaluation.evaluate import with_states_of
    frames = build([{}], [[8, 1]])
    for embeds in (True, False):
        potential = Potential(VectorSAKE(8, num_layers=1, cutoff=3.0,
                                         embed_charge=embeds))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            with_states_of(potential, frames, {})
        assert ['9 electrons cannot' in str(warning.message)
                for warning in caught] == [True] * embeds

"""Potentials that come with the package, called 'pretrained:NAME'."""

import hashlib
import os
import os.path as osp
from pathlib import Path

import pytest
import torch

from torch_sake import Ensemble, load_potential, load_property, pretrained
from torch_sake.checkpoint import folder_of, load_checkpoint
from torch_sake.cli import main
from torch_sake.potentials.load import load_checkpoints
from torch_sake.utils import released
from torch_sake.utils.inputs import BEST, find_checkpoint

WATER = torch.tensor([8, 1, 1]), torch.tensor(
    [[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]]).double()


@pytest.fixture
def one(checkpoint, release):
    return release('one', checkpoint('run'), description='one of water')


def test_it_is_the_potential_of_its_file(one, checkpoint):
    expected = load_potential(checkpoint('run'))
    for potential in (load_potential(one), load_potential(Path(one)),
                      load_checkpoints(one)[0]):
        for value, other in zip(potential(*WATER), expected(*WATER)):
            assert value is other is None or torch.equal(value, other)
    assert pretrained() == {'one': 'one of water'}


def test_members_of_an_ensemble(one, checkpoint):
    potential, units, elements = load_checkpoints(
        [one, checkpoint('other', seed=1)])
    assert isinstance(potential, Ensemble)
    assert units['energy'] == 'eV' and elements == [1, 6, 8, 14]


def test_names_that_are_not_there(one, release, checkpoint):
    release('two', checkpoint('run'))
    for name in ('three', '', 'On', '../one', 'one.safetensors', 'one/',
                 f'{os.sep}one', 'ONE' if osp.exists(__file__.upper()) else
                 'oNe'):
        with pytest.raises(ValueError, match=(
                'There is no potential .*pretrained:one, pretrained:two')):
            load_potential(f'pretrained:{name}')
    with pytest.raises(ValueError, match='must be of a property'):
        load_property(one)


def test_none_is_there(release):
    assert pretrained() == {}
    with pytest.raises(ValueError, match=r'\(there is none\)'):
        load_checkpoint('pretrained:one')


def test_damage_is_seen(one):
    path = Path(released.FOLDER, 'one.safetensors')
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    with pytest.raises(ValueError, match=(
            rf"{path.name}' must be the file that was released, with the "
            rf"digest [0-9a-f]{{64}} \(got {digest}\)")):
        find_checkpoint(one)


@pytest.mark.parametrize('change, message', [
    ({'sha256': 'abc'}, "'sha256' must match"),
    ({'version': None}, "'version' must be of type str"),
    ({'version': 'new'}, "'version' must match"),
    ({'description': 'two\nlines'}, "'description' must match"),
])
def test_cards_are_checked(checkpoint, release, change, message):
    name = release('one', checkpoint('run'), **change)
    for call in (pretrained, lambda: load_potential(name)):
        with pytest.raises(ValueError, match=rf"one\.json': {message}"):
            call()


def test_cards_that_are_missing(one):
    os.remove(osp.join(released.FOLDER, 'one.json'))
    with pytest.raises(ValueError, match=r"one\.json': FileNotFoundError"):
        load_potential(one)


def test_the_name_is_never_that_of_a_file(one, checkpoint, tmp_path,
                                          monkeypatch):
    other = checkpoint('other', seed=1)
    monkeypatch.chdir(tmp_path)
    os.rename(osp.join(other, BEST), tmp_path / one)
    with pytest.warns(UserWarning, match=f"not the file .*'./{one}'"):
        found = find_checkpoint(one)
    assert found == osp.join(released.FOLDER, 'one.safetensors')
    assert find_checkpoint(f'./{one}') == f'./{one}'


def test_files_of_the_package_stay(one, molecule_file):
    from torch_sake.datasets import Frames
    from torch_sake.evaluation.fit_uncertainty import (
        fit_uncertainty,
        write_uncertainty,
    )
    frames = Frames([WATER[0]], [WATER[1]], [0.0], name='', source='water',
                    units={'length': 'Angstrom', 'energy': 'eV'})
    for call in (lambda: fit_uncertainty(one, frames, frames),
                 lambda: write_uncertainty(one, None)):
        with pytest.raises(ValueError, match='not one of the package'):
            call()
    find_checkpoint(one)  # has the digest that it had


def test_calculators_take_it(one, checkpoint, molecule_file):
    ase_io = pytest.importorskip('ase.io')
    from torch_sake.calculators import SAKECalculator
    energies = []
    for source in (one, [one], checkpoint('run')):
        atoms = ase_io.read(molecule_file)
        atoms.calc = SAKECalculator(source)
        energies.append(atoms.get_potential_energy())
    assert energies[0] == energies[1] == energies[2]


def test_folder_of_what_is_done_with_it(one):
    assert folder_of(one) == osp.join('runs', 'one')


def test_commands(one, checkpoint, molecule_file, tmp_path, monkeypatch,
                  capsys):
    monkeypatch.chdir(tmp_path)
    before = sorted(os.listdir(released.FOLDER))
    assert main(['md', '--checkpoint', one, '--structure', molecule_file,
                 '--num_steps', '2', '--interval', '1']) == 0
    assert main(['relax', '--checkpoint', one, '--structure', molecule_file,
                 '--num_steps', '2']) == 0
    assert {'md', 'relax'} <= set(os.listdir('runs/one'))
    assert sorted(os.listdir(released.FOLDER)) == before


def test_elements_are_named_before_anything_runs(checkpoint, release,
                                                 tmp_path, monkeypatch,
                                                 capsys):
    ase_build = pytest.importorskip('ase.build')
    name = release('one', checkpoint('run'))
    monkeypatch.chdir(tmp_path)
    ase_build.molecule('CH3SCH3').write('dms.xyz')
    assert main(['md', '--checkpoint', name, '--structure', 'dms.xyz']) != 0
    assert 'The structure has S, ' in capsys.readouterr().err
    assert main(['md', '--checkpoint', 'pretrained:two', '--structure',
                 'dms.xyz']) != 0
    assert 'there is pretrained:one' in capsys.readouterr().err
    assert not osp.exists('runs')


def test_those_that_are_released():
    names = {osp.splitext(file)[0] for file in (
        os.listdir(released.FOLDER) if osp.isdir(released.FOLDER) else ())}
    assert names == pretrained().keys()
    for name in names:
        path = find_checkpoint(f'pretrained:{name}')
        assert osp.getsize(path) <= 4 * 2**20
        tensors, description = load_checkpoint(path)
        load_potential(path)
        card = released.read_card(name)
        assert not any(key.startswith('split.') for key in tensors)
        assert description['released'] == {'name': name,
                                           'version': card['version']}
        assert not {'split', 'fingerprint', 'history'} & description.keys()
        assert card.keys() >= {'elements', 'method', 'data', 'recipe',
                               'errors', 'not_for'}

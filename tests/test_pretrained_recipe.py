"""The recipe of a potential that comes with the package."""

import csv
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

from torch_sake import load_potential
from torch_sake.checkpoint import load_checkpoint
from torch_sake.utils import released

pytest.importorskip('ase')
FOLDER = Path(__file__).resolve().parents[1] / 'examples' / 'pretrained'


@pytest.fixture(scope='module')
def recipe():
    """The modules of the recipe, which import each other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        yield importlib.import_module
        for name in ('molecules', 'assess', 'release', 'xtb_organic'):
            sys.modules.pop(name, None)


@pytest.fixture
def tables(tmp_path):
    """Tables as those of qm9pack, of other molecules."""
    from ase.build import molecule
    names = ['CH3CH2OCH3', 'C3H7Cl', 'CH3SH', 'CH3CH2NH2', 'C3H8', 'CH3CHO',
             'CH3CONH2', 'CH3COOH', 'HCOOCH3', 'C4H4NH', 'C5H5N', 'CH3OH']
    swaps = {'Cl': 'F', 'S': 'O'}
    rng = numpy.random.default_rng(0)
    rows = []
    for atoms in [molecule(name) for name in names] + [
            molecule(name) for name in names]:
        symbols = [swaps.get(symbol, symbol) for symbol in atoms.symbols]
        pos = atoms.positions + 0.01 * rng.standard_normal((len(atoms), 3))
        # A substituted hydrogen makes it another molecule than that of g2.
        if len(rows) >= len(names) and 'H' in symbols:
            place = symbols.index('H')
            symbols[place] = 'F'
            carbon = numpy.linalg.norm(pos - pos[place], axis=1).argsort()[1]
            pos[place] += 0.3 * (pos[place] - pos[carbon])
        rows.append({'Index': len(rows), 'Elements': str(symbols).replace(
            ' ', ''), 'XYZ_Ang': json.dumps(pos.tolist())})
    for part in range(3):
        with open(tmp_path / f'qm9_part{part + 1}.csv', 'w') as file:
            writer = csv.DictWriter(file, ['Index', 'Elements', 'XYZ_Ang'])
            writer.writeheader()
            writer.writerows(rows[part::3])
    return str(tmp_path)


def test_molecules_are_told_apart_by_bonds(recipe):
    molecules = recipe('molecules')
    from ase.build import molecule

    from torch_sake.sampling.moves import random_rotation

    def key(name, change=lambda pos: pos):
        atoms = molecule(name)
        return molecules.key_of(molecules.Molecule(
            atoms.numbers, change(atoms.positions)))

    rng = numpy.random.default_rng(0)
    turned = random_rotation(rng)
    assert key('CH3CH2OH') == key('CH3CH2OH', lambda pos: pos @ turned)
    assert key('CH3CH2OH') != key('CH3OCH3')  # of one formula
    assert key('isobutane') != key('trans-butane')
    assert key('C3H4_C3v') != key('C3H4_D2d') != key('C3H4_C2v')
    atoms = molecule('CH3CH2OH')
    order = rng.permutation(len(atoms))
    assert molecules.key_of(molecules.Molecule(
        atoms.numbers[order], atoms.positions[order])) == key('CH3CH2OH')


def test_changed_molecules_keep_their_electrons(recipe):
    molecules = recipe('molecules')
    rng = numpy.random.default_rng(0)
    number = 0
    for one in molecules.g2_molecules().values():
        for _ in range(5):
            new = molecules.change(one, rng)
            if new is None:
                continue
            number += 1
            # As many, or eight more where fluorine takes hydrogen's place.
            assert (new.z.sum() - one.z.sum()) in (0, 8)
            assert set(new.z) <= {1, 6, 7, 8, 9}
            assert len(new.z) == 1 or molecules.bonds_of(new).any(axis=1).all()
    assert number > 50


def test_what_is_tested_on_is_not_learned_from(recipe, tables):
    molecules = recipe('molecules')
    drawn = molecules.draw(seed=1, num_molecules=12, num_changed=20,
                           num_val=2, num_test=3, folder=tables)
    again = molecules.draw(seed=1, num_molecules=12, num_changed=20,
                           num_val=2, num_test=3, folder=tables)
    keys = {name: {molecules.key_of(one) for one in getattr(drawn, name)}
            for name in ('drawn', 'changed', 'small', 'qm9_val', 'qm9_test')}
    learned = keys['drawn'] | keys['changed'] | keys['small']
    assert len(keys['changed']) == 20 and drawn.drawn
    assert not learned & (keys['qm9_test'] | keys['qm9_val'])
    assert not learned & {molecules.key_of(one)
                          for one in drawn.g2_test.values()}
    assert 'CH4' not in drawn.g2_test
    for name in keys:
        for one, other in zip(getattr(drawn, name), getattr(again, name)):
            assert (one.pos == other.pos).all()
    other = molecules.draw(seed=2, num_molecules=12, num_changed=20,
                           num_val=2, num_test=3, folder=tables)
    assert any(len(one.z) != len(new.z) or (one.pos != new.pos).any()
               for one, new in zip(drawn.qm9_test, other.qm9_test))


def test_broken_bonds_are_found(recipe):
    molecules, assess = recipe('molecules'), recipe('assess')
    one = molecules.g2_molecules()['CH3CH2OH']
    frames = numpy.repeat(one.pos[None], 5, axis=0)
    assert assess.first_break(one, frames) is None
    frames[3, -1] += 5.0
    assert assess.first_break(one, frames) == 3
    assert assess.turning_bonds(one) == 0  # that of a methyl group
    assert assess.turning_bonds(molecules.g2_molecules()['trans-butane']) == 1
    assert assess.turning_bonds(molecules.g2_molecules()['C6H6']) == 0
    atoms, places = assess.side_by_side([one, one])
    assert len(atoms) == 18 and places == [slice(0, 9), slice(9, 18)]


def test_the_page_has_the_errors_of_the_card(recipe):
    page = (FOLDER.parents[1] / 'docs' / 'pretrained.rst').read_text()
    for name in released.released_names():
        card = released.read_card(name)
        assert recipe('release').table(card['errors']) in page


@pytest.mark.slow
def test_all_stages(tables, tmp_path, monkeypatch):
    pytest.importorskip('tblite')
    pytest.importorskip('pytorch_lightning')
    out = tmp_path / 'organic'
    command = [sys.executable, str(FOLDER / 'xtb_organic.py'), '--out',
               str(out), '--qm9', tables, '--num_molecules', '6',
               '--num_changed', '6', '--num_test', '1', '--num_frames', '40',
               '--num_steps', '4', '--num_ps', '0.05']

    def run(*arguments):
        process = subprocess.run(
            [*command, *arguments], capture_output=True, text=True,
            timeout=600, env=dict(os.environ, OMP_NUM_THREADS='1'))
        assert process.returncode == 0, process.stderr
        return process.stdout

    assert 'train: ' in run('--stage', 'label')
    assert not (out / 'run').exists()
    printed = run()
    assert 'train: ' not in printed  # nothing is done twice
    assert re.search(r'force, all \(%\)\n     - \d+\.\d', printed)
    monkeypatch.setattr(released, 'FOLDER', str(out / 'release'))
    potential = load_potential('pretrained:xtb-organic')
    assert potential.isolated_atoms == [1, 6, 7, 8, 9]
    tensors, description = load_checkpoint('pretrained:xtb-organic')
    assert str(tmp_path) not in json.dumps(description)
    assert not any(name.startswith('split') for name in tensors)
    card = released.read_card('xtb-organic')
    assert card['elements'] == ['H', 'C', 'N', 'O', 'F']
    assert {row['set'] for row in card['errors']} == {
        'QM9, 300 K', 'QM9, 1000 K', 'g2, 300 K', 'g2, 1000 K'}
    assert len(card['hot']) == 1 and card['num_frames'] > 20

import numpy
import pytest
import torch
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT

from torch_sake.datasets import (
    Frames,
    FramesOnDisk,
    JoinedFrames,
    Split,
    write_frames,
)
from torch_sake.inspection.look import look_at, look_at_own
from torch_sake.inspection.remark import (
    Remark,
    leave_out,
    name_frames,
    outliers_of,
)
from torch_sake.inspection.sample import Sample
from torch_sake.inspection.units import Evidence, Units, find_units
from torch_sake.training.data_plot import plot_data
from torch_sake.utils.units import BOHR, ENERGIES

EV = {'length': 'Angstrom', 'energy': 'eV'}
KCAL, HARTREE = ENERGIES['kcal/mol'], ENERGIES['Hartree']
# Energies of atoms, of no method in particular:
ATOMS = {1: -10.7, 6: -48.9, 8: -102.0}


def springs(atoms, rng, rattle):
    """Returns positions, energy and forces of a molecule whose bonds and
    angles are springs."""
    rest = torch.tensor(atoms.get_all_distances())
    bonded = (rest > 0) & (rest < 1.7) & ~torch.tensor(
        numpy.logical_and.outer(atoms.numbers == 1, atoms.numbers == 1))
    angles = (bonded.double() @ bonded.double() > 0) & ~bonded
    stiff = 34.0 * bonded + 4.0 * angles
    pos = torch.tensor(atoms.positions + rattle * rng.standard_normal(
        atoms.positions.shape), requires_grad=True)
    dist = (pos[:, None] - pos).square().sum(dim=2) + torch.eye(len(pos))
    energy = (0.25 * stiff * (dist.sqrt() - rest).square()).sum()
    force = -torch.autograd.grad(energy, pos)[0]
    total = sum(ATOMS[z] for z in atoms.numbers) - 4.0 * len(pos)
    return pos.detach().numpy(), float(energy.detach()) + total, force.numpy()


def molecules(number=60, rattle=0.05, alone=False, **changes):
    """Returns frames of molecules, those of single atoms first, with some
    arguments of Frames changed by functions."""
    rng, rows = numpy.random.default_rng(0), []
    if alone:
        rows = [([z], numpy.zeros((1, 3)), e, numpy.zeros((1, 3)))
                for z, e in ATOMS.items()]
    for index in range(number):
        atoms = molecule(['CH3OH', 'H2O', 'CH3CH2OH'][index % 3])
        rows.append((atoms.numbers, *springs(atoms, rng, rattle)))
    return build(changes, **dict(zip(('z', 'pos', 'energy', 'force'),
                                     map(list, zip(*rows)))))


def build(changes, units=EV, **arrays):
    for key, change in changes.items():
        arrays[key] = change(arrays[key])
    return Frames(**arrays, name='x', units=units, source='x.xyz')


def times(factor):
    return lambda rows: [factor * row for row in rows]


def put(index, value):
    """Returns a function that replaces the value of a frame."""
    def change(rows):
        rows = list(rows)
        rows[index] = value(rows[index]) if callable(value) else value
        return rows
    return change


def copper(number=40, strain=0.04, rattle=0.05, **changes):
    """Returns strained cells of copper by EMT, with stresses."""
    rng, rows = numpy.random.default_rng(0), []
    for index in range(number):
        atoms = bulk('Cu', cubic=True)
        size = 1 + strain * (2 * index / (number - 1) - 1)
        atoms.set_cell(size * atoms.cell.array, scale_atoms=True)
        atoms.positions += rattle * rng.standard_normal((4, 3))
        atoms.calc = EMT()
        rows.append((atoms.numbers, atoms.positions,
                     atoms.get_potential_energy(), atoms.get_forces(),
                     atoms.cell.array,
                     atoms.get_stress(voigt=False)))
    return build(changes, **dict(zip(
        ('z', 'pos', 'energy', 'force', 'cell', 'stress'),
        map(list, zip(*rows)))))


def lines(frames, **options):
    return [str(remark) for remark in look_at(frames, **options)]


def in_kcal():
    frames = molecules(energy=times(1 / KCAL), force=times(1 / KCAL))
    frames.units['energy'] = 'kcal/mol'
    return frames


CLEAN = {
    'molecules': lambda: molecules(),
    'nearly relaxed': lambda: molecules(rattle=0.002),
    'hot': lambda: molecules(rattle=0.1),
    'with single atoms': lambda: molecules(alone=True),
    'two': lambda: molecules(2),
    'energies alone': lambda: molecules(force=lambda rows: None),
    'some unknown': lambda: molecules(
        energy=put(3, None), force=lambda rows: [
            row if index % 2 else None for index, row in enumerate(rows)]),
    'kcal/mol as it is said': in_kcal,
    'energies from the lowest': lambda: copper(
        energy=lambda rows: [row - min(rows) for row in rows]),
    'strained copper': lambda: copper(),
    'an equation of state': lambda: copper(rattle=0),
    'a crystal': lambda: copper(2, strain=0, rattle=0.01),
    'nearly a liquid': lambda: copper(strain=0, rattle=0.3),
}


@pytest.mark.parametrize('name', CLEAN)
def test_nothing_is_said_of_what_is_right(name):
    assert lines(CLEAN[name](), cutoff=5.0) == []


def test_nothing_is_said_of_slabs_among_crystals():
    rows = []
    for index in range(24):
        atoms = fcc111('Cu', (2, 2, 2), vacuum=8.0) if index % 2 else bulk(
            'Ag', cubic=True)
        atoms.rattle(0.05, seed=index)
        atoms.calc = EMT()
        rows.append((atoms.numbers, atoms.positions,
                     atoms.get_potential_energy(), atoms.get_forces(),
                     atoms.cell.array, atoms.pbc))
    names = ('z', 'pos', 'energy', 'force', 'cell', 'pbc')
    assert lines(build({}, **dict(zip(names, map(list, zip(*rows)))))) == []


def test_nothing_is_said_of_isolated_atoms_in_boxes():
    data = list(copper(20))
    cells = [15 * numpy.eye(3), *(one.cell[0] for one in data)]
    frames = Frames(
        [[29], *(one.z for one in data)],
        [[[7.0, 7, 7]], *(one.pos for one in data)],
        [33.0, *(float(one.energy) for one in data)],
        [[[0.0, 0, 0]], *(one.force for one in data)],
        cell=numpy.stack(cells), name='x', units=EV, source='x.xyz',
        infos=[{'config_type': 'IsolatedAtom'}, *(20 * [{}])])
    assert lines(frames) == []
    frames._infos = None
    assert len(lines(frames)) == 1


def test_all_energies_are_zero():
    remark, = look_at(copper(energy=times(0), stress=lambda _: None))
    assert 'All energies are exactly 0' in str(remark)


def test_all_forces_are_zero():
    remark, = look_at(molecules(12, force=times(0)))
    assert 'All forces of molecules are exactly 0' in str(remark)
    # Of relaxed molecules, and of crystals, it may be right:
    assert lines(molecules(3, force=times(0))) == []
    assert lines(copper(rattle=0, force=times(0))) == []


def test_few_energies_are_zero():
    remark, = look_at(molecules(4, energy=times(0)))
    assert 'All energies are exactly 0, while forces are not' in str(remark)
    assert lines(molecules(4, energy=times(0), force=times(0))) == []


def test_nothing_is_known():
    nothing = [None] * 12
    assert lines(molecules(12, energy=lambda _: nothing,
                           force=lambda _: nothing)) == []
    assert lines(molecules(1)) == []


def test_nothing_is_said_of_other_charges_of_the_same_structure():
    frames = molecules(30, pos=put(5, lambda _: molecules(30)[2].pos.numpy()))
    assert len(lines(frames)) == 1
    infos = [{'charge': int(index == 5)} for index in range(30)]
    data = list(frames)
    frames = Frames([one.z for one in data], [one.pos for one in data],
                    [one.energy for one in data], [one.force for one in data],
                    name='x', units=EV, source='x.xyz', infos=infos)
    assert lines(frames) == []


WRONG_UNITS = {
    'kcal/mol': (1 / KCAL, 1 / KCAL, 1, ["times the usual",
                                         "('--units kcal/mol')"]),
    'kJ/mol': (4.184 / KCAL, 4.184 / KCAL, 1, ["('--units kJ/mol')"]),
    'Hartree': (1 / HARTREE, 1 / HARTREE, 1, ["('--units Hartree')"]),
    'atomic units': (1 / HARTREE, BOHR / HARTREE, 1 / BOHR, [
        "'--units Hartree' and '--length_unit Bohr'"]),
    'Hartree/Bohr': (1 / HARTREE, BOHR / HARTREE, 1, [
        'likely in Hartree and Hartree/Bohr']),
    'Ry/Bohr': (2 / HARTREE, 2 * BOHR / HARTREE, 1, [
        'likely in Ry and Ry/Bohr']),
    'Bohr': (1, BOHR, 1 / BOHR, ["likely in Bohr: convert them "
                                 "('--length_unit Bohr')"]),
    'nm': (1, 10, 0.1, ["('--length_unit nm')"]),
    'forces in kcal/mol': (1, 1 / KCAL, 1, ['eV and kcal/mol/Angstrom']),
    'energies in kcal/mol': (1 / KCAL, 1, 1, ['kcal/mol and eV/Angstrom']),
    'gradients': (1, -1, 1, ['likely gradients']),
}


@pytest.mark.parametrize('name', WRONG_UNITS)
def test_units_of_molecules(name):
    energy, force, length, texts = WRONG_UNITS[name]
    found = lines(molecules(energy=times(energy), force=times(force),
                            pos=times(length)))
    assert 1 <= len(found) <= 2
    assert all(text in ' '.join(found) for text in texts)


def test_units_that_are_said_to_be_others_than_they_are():
    frames = molecules()
    frames.units['energy'] = 'kcal/mol'
    found, = lines(frames)
    assert "do not look like kcal/mol" in found
    assert "('--units eV')" in found


def test_total_energies_tell_their_unit():
    hartree = {1: -0.5, 6: -37.9, 8: -75.1}
    rng = numpy.random.default_rng(0)
    rows = [(atoms.numbers, atoms.positions, 1.005 * sum(
        hartree[z] for z in atoms.numbers) - 0.01 * rng.random())
        for atoms in map(molecule, 12 * ['CH4', 'H2O', 'CH3OH', 'CO', 'C2H2'])]
    rows = [(z, pos + 0.01 * index, e) for index, (z, pos, e) in
            enumerate(rows)]
    arrays = dict(zip(('z', 'pos', 'energy'), map(list, zip(*rows))))
    found, = lines(build({}, **arrays))
    assert "all electrons in Hartree" in found
    assert "('--units Hartree')" in found
    assert lines(build({'energy': times(HARTREE)}, **arrays)) == []


def test_total_energies_of_one_molecule_may_be_a_chance():
    """Those of valence electrons in eV may be what all have in Hartree."""
    ethanol = molecules(60)[2::3]
    shift = -155.0 - float(ethanol[0].energy)
    energy = [float(one.energy) + shift for one in ethanol]
    arrays = {'z': [one.z for one in ethanol], 'energy': energy,
              'pos': [one.pos for one in ethanol]}
    assert lines(build({}, **arrays)) == []
    assert lines(build({}, **arrays, force=[one.force for one in ethanol])
                 ) == []


# The factor of the stress, and what the line says.
STRESSES = {'GPa': (160.2177, 'likely in GPa'),
            'kbar': (1602.177, 'likely in kbar'),
            'sign': (-1, 'multiply them by -1')}


@pytest.mark.parametrize('name', STRESSES)
@pytest.mark.parametrize('rattle', [0.0, 0.05])
def test_units_of_stresses(name, rattle):
    factor, text = STRESSES[name]
    found, = lines(copper(rattle=rattle, stress=times(factor)))
    assert text.lower() in found.lower()
    assert 'Stresses do not fit to energies' in found


def strained(element='Cu', number=40, seed=0, stress=1.0, unit='eV'):
    """Returns cells with random strains and atoms that moved far, all in
    units of energy that go together."""
    rng, rows = numpy.random.default_rng(seed), []
    for _ in range(number):
        atoms = bulk(element, cubic=True)
        strain = numpy.eye(3) + 0.02 * rng.standard_normal((3, 3))
        atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
        atoms.positions += 0.08 * rng.standard_normal((4, 3))
        atoms.calc = EMT()
        size = 1 / ENERGIES[unit]
        rows.append((atoms.numbers, atoms.positions,
                     size * atoms.get_potential_energy(),
                     size * atoms.get_forces(), atoms.cell.array,
                     stress * size * atoms.get_stress(voigt=False)))
    return build({}, {**EV, 'energy': unit}, **dict(zip(
        ('z', 'pos', 'energy', 'force', 'cell', 'stress'),
        map(list, zip(*rows)))))


@pytest.mark.parametrize('unit', ['eV', 'kcal/mol'])
@pytest.mark.parametrize('factor, texts', [
    (160.2177, ['likely in GPa']),
    (-1602.177, ['likely in kbar', 'Multiply them by -1']),
    (-1.0, ['Multiply them by -1']),
    (1 / 91.8158, ['likely in Ry/Bohr^3']),
])
def test_stresses_where_atoms_move_far(unit, factor, texts):
    if abs(factor) != 1:
        factor *= ENERGIES[unit]  # of the same stresses
    found, = lines(strained(stress=factor, unit=unit))
    assert all(text in found for text in texts)


@pytest.mark.parametrize('element', ['Cu', 'Al'])
@pytest.mark.parametrize('seed', range(3))
def test_nothing_is_said_of_right_stresses(element, seed):
    assert lines(strained(element, seed=seed)) == []


def test_stresses_of_single_frames_that_are_too_large():
    found, = lines(copper(4, stress=times(1602.177)))
    assert 'likely in kbar or GPa' in found


def move(index, by):
    def change(pos):
        pos = numpy.array(pos)
        pos[index] += by
        return pos
    return change


def closer(pos):
    pos = numpy.array(pos)
    pos[1] = pos[0] + 0.2 * (pos[1] - pos[0])
    return pos


# What is changed of one frame, what the line says, and whether it is left out.
OUTLIERS = {
    'zero': (dict(energy=put(17, 0.0)), 'the energy is exactly 0', True),
    'energy': (dict(energy=put(17, lambda e: e + 30)), 'eV per atom', True),
    'force': (dict(force=put(17, lambda f: 100 * f)), 'a force is', True),
    'no forces': (dict(force=put(17, lambda f: 0 * f)), 'all forces', True),
    'close': (dict(pos=put(17, closer)), 'from another', True),
    'far': (dict(pos=put(17, move(2, 9.0))), 'from all others', False),
}


@pytest.mark.parametrize('name', OUTLIERS)
def test_outliers_are_named(name):
    changes, text, is_outlier = OUTLIERS[name]
    remark, = look_at(molecules(**changes), cutoff=5.0)
    assert remark.frames == (17,) and text in remark.message
    assert remark.is_outlier == is_outlier
    assert remark.line('x.xyz').startswith('x.xyz, frame 17: ')
    assert ('--drop_outliers' in remark.line('x.xyz')) == is_outlier
    assert '--drop_outliers' not in remark.line('x.xyz', dropped=True)
    assert outliers_of([remark]) == ([17] if is_outlier else [])


def test_atoms_of_a_cell_are_near_their_images():
    assert lines(copper(pos=put(3, move(0, 50.0)))) == []


def test_copies_are_named():
    first = molecules(30)[2]

    def copies(energy=0.0, force=0.0):
        return molecules(
            30, pos=put(8, first.pos.numpy() + 1e-8),
            energy=put(8, float(first.energy) + energy),
            force=put(8, first.force.numpy() + force))
    same, = look_at(copies())
    assert same.frames == (8,) and 'the same as frame 2' in same.message
    other, = look_at(copies(energy=0.5))
    assert other.frames == (8,) and other.is_outlier
    for energy in (first.energy, first.energy + 0.5):
        assert f'{float(energy):.9g}' in other.message
    forces, = look_at(copies(force=0.3))
    assert 'forces that differ by 0.52 eV/Angstrom' in forces.message


def test_many_copies_take_no_time():
    frames = copper(2, strain=0, rattle=0.01)
    frames = frames[torch.zeros(3000, dtype=torch.long)]
    remark, = look_at(frames)
    assert remark.frames == tuple(range(1, 3000))
    assert str(remark).startswith('frames 1, 2, 3 and 2996 more: ')


def test_frames_on_disk_are_sampled(tmp_path, monkeypatch):
    path = str(tmp_path / 'x.frames')
    write_frames([molecules(energy=put(16, 0.0))], path)
    frames = FramesOnDisk(path)
    assert lines(frames) == lines(molecules(energy=put(16, 0.0)))
    of = Sample.of
    monkeypatch.setattr(Sample, 'of', lambda frames: of(frames, 30))
    found = lines(frames)
    assert found[0].startswith('frame 16: the energy is exactly 0')
    assert found[1:] == ['30 of 60 frames were looked at']


def test_other_data_are_not_looked_at():
    frames = molecules(energy=times(23), force=times(23))
    assert look_at_own(frames)
    frames.source = 'md17:ethanol'
    assert look_at_own(frames) == []
    gaps = Frames([[1, 1]], [[[0.0, 0, 0], [1e-3, 0, 0]]], [1.0], name='x',
                  units={'length': 'Angstrom', 'gap': 'eV'}, source='x')
    assert look_at(gaps) == []


def test_frames_in_words():
    assert name_frames([3]) == 'frame 3'
    assert name_frames([3, 5]) == 'frames 3 and 5'
    assert name_frames([3, 5, 7, 9]) == 'frames 3, 5, 7 and 9'
    assert name_frames(range(9)) == 'frames 0, 1, 2 and 6 more'
    assert str(Remark('All is well')) == 'All is well'


def test_leave_out():
    split = leave_out(Split(*map(torch.tensor, ([4, 1], [0], [2, 3]))), [1, 3])
    assert [part.tolist() for part in vars(split).values()] == [[4], [0], [2]]


PICTURES = {
    'molecules': molecules,
    'crystals': copper,
    'no forces': lambda: molecules(force=lambda rows: None),
    'zero forces': lambda: copper(3, rattle=0, force=times(0)),
    'single atoms': lambda: molecules(1, alone=True)[:3],
    'lengths in nm': lambda: copper(pos=times(0.1), cell=times(0.1)),
    'an outlier': lambda: molecules(energy=put(7, 0.0)),
}


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('name', PICTURES)
def test_picture(name, tmp_path):
    matplotlib = pytest.importorskip('matplotlib.image')
    plot_data(PICTURES[name](), str(tmp_path))
    picture = matplotlib.imread(tmp_path / 'data.png')
    number = 2 if name == 'no forces' else 3
    assert picture.shape[:2] == (675, 750 * number)
    for axis in numpy.split(picture[:, :, :3], number, axis=1):
        colors = axis.max(axis=2) - axis.min(axis=2) > 0.3
        # A curve or bars in each, but where there is nothing to draw:
        empty = name in ('zero forces', 'single atoms')
        assert empty or colors.sum() > 300


def test_no_picture_of_other_data(tmp_path):
    frames = Frames([[1]], [[[0.0, 0, 0]]], [1.0], name='x',
                    units={'length': 'Angstrom', 'gap': 'eV'}, source='x')
    plot_data(frames, str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_lines_of_several_sources():
    """Frames are named by the numbers that they have in their own files."""
    a, b = molecules(), molecules(rattle=0.06)
    b.source = 'b.xyz'
    rows = [b[index] for index in range(30)]
    rows[7].energy += 500.0
    rows[12] = a[15]
    b = Frames([data.z for data in rows], [data.pos for data in rows],
               [float(data.energy) for data in rows],
               [data.force for data in rows], name='b', units=EV,
               source='b.xyz')
    remarks = look_at(JoinedFrames([a[3:], b]))
    lines = [line for remark in remarks
             for line in remark.lines(JoinedFrames([a[3:], b]))]
    assert len(lines) == 2
    assert lines[0].startswith('b.xyz, frame 7: the energy')
    assert lines[1].startswith('b.xyz, frame 12: the same as x.xyz, frame 15')
    assert outliers_of(remarks) == [57 + 7, 57 + 12]


def test_units_of_several_sources():
    """Each is looked at by itself, in the units it is said to be in."""
    a, b = molecules(), in_kcal()
    b.units, b.source = EV, 'b.xyz'

    def found(*parts):
        frames = JoinedFrames(list(parts))
        return [line for remark in look_at(frames)
                for line in remark.lines(frames) if 'same str' not in line]
    line, = found(a, b)
    assert line.startswith('b.xyz: Labels do not look like eV')
    assert "likely in kcal/mol: convert them ('--units kcal/mol')" in line
    # Their numbers may not be looked at together:
    line, = found(a, b[torch.arange(0, 60, 5)])
    assert line.startswith('b.xyz: Labels do not look like eV')
    # Of those that were converted by what was said of both:
    a.units = b.units = {**EV, 'energy': 'kcal/mol'}
    line, = found(a.in_units(EV), b.in_units(EV))
    assert line.startswith('x.xyz: Labels do not look like kcal/mol')
    assert "('--units eV')" in line


def test_units_by_frames_that_are_far_from_each_other():
    factor = KCAL / HARTREE
    far = molecules(rattle=0.12, energy=times(1 / HARTREE),
                    force=times(BOHR / HARTREE))
    found, = lines(far)
    assert factor < 1 and 'likely in Hartree and Hartree/Bohr' in found
    assert ("multiply forces by 1.88973 for Hartree/Angstrom, then "
            "'--units Hartree'") in found


@pytest.mark.parametrize('stiffness, fit, expected', [
    (18.3, 1.5, [Units('Hartree', 'Hartree', 'Bohr')]),
    (18.3, 1.0, None),  # each alone may be a chance
    (33.0, 1.5, None),
])
def test_forces_per_bohr_that_are_said_to_be_in_hartree(stiffness, fit,
                                                        expected):
    frames = molecules()
    frames.units['energy'] = 'Hartree'
    evidence = Evidence(stiffness, fit, None)
    assert find_units(evidence, Sample.of(frames), 'Angstrom') == expected


@pytest.mark.parametrize('name', ['total_charge', 'spin_multiplicity',
                                  'total_spin'])
def test_states_tell_structures_apart(name):
    frames = molecules(20)
    rows = [*frames, frames[4]]
    rows[-1].energy = rows[-1].energy + 3.0
    for infos, number in (([{name: 1}] * 21, 1),
                          ([{name: 1}] * 20 + [{name: 3}], 0)):
        same = Frames([data.z for data in rows], [data.pos for data in rows],
                      [float(data.energy) for data in rows],
                      [data.force for data in rows], name='x', units=EV,
                      source='x.xyz', infos=infos)
        assert len([remark for remark in look_at(same)
                    if 'same structure' in str(remark)]) == number

import gzip
import hashlib
import json
import os
import time

# One thread, before anything reads this: sums of several threads differ in
# their last digits from run to run, and small tests gain nothing by them.
os.environ.setdefault('OMP_NUM_THREADS', '1')

import numpy
import pytest
import torch
from hypothesis import settings

from torch_sake.checkpoint import load_checkpoint, save_checkpoint
from torch_sake.utils import released

# Examples are drawn anew each time; a failure is printed and comes back.
settings.register_profile('default', deadline=None, max_examples=20,
                          print_blob=True)
settings.load_profile('default')


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(12345)


@pytest.fixture
def wait_until():
    """Waits until something is so, which a process that runs brings about."""
    def wait(process, is_so, seconds=300):
        end = time.monotonic() + seconds
        while not is_so():
            if process.poll() is not None or time.monotonic() > end:
                process.kill()
                pytest.fail(f'Process ended with {process.wait()}: '
                            f'{process.stderr and process.stderr.read()}')
            time.sleep(0.05)
    return wait


@pytest.fixture
def release(tmp_path, monkeypatch):
    """Makes a checkpoint one that comes with the package."""
    folder = tmp_path / 'released'
    folder.mkdir()
    monkeypatch.setattr(released, 'FOLDER', str(folder))

    def write(name, checkpoint, **card):
        path = folder / f'{name}.safetensors'
        tensors, description = load_checkpoint(checkpoint)
        save_checkpoint(path, tensors, {**description, 'released': {
            'name': name, 'version': card.get('version') or '0.1'}})
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        path.with_suffix('.json').write_text(json.dumps({
            'description': 'a stand-in', 'version': '0.1', 'sha256': digest,
            **card}))
        return f'pretrained:{name}'
    return write


@pytest.fixture
def replica():
    """What DataParallel makes of a module for another device."""
    def replicate(module):
        copies = {part: part._replicate_for_data_parallel()
                  for part in module.modules()}
        for part, copy in copies.items():
            copy._former_parameters = {}
            for name, child in part._modules.items():
                copy._modules[name] = copies.get(child)
            for name, parameter in part._parameters.items():
                if parameter is None:
                    copy._parameters[name] = None
                else:  # an attribute, and no parameter any more
                    setattr(copy, name, parameter.clone())
                    copy._former_parameters[name] = getattr(copy, name)
        return copies[module]
    return replicate


@pytest.fixture
def water_file(tmp_path) -> str:
    """30 frames of water-like molecules of springs, in eV and Angstrom."""
    ase_io = pytest.importorskip('ase.io')
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator
    rest = numpy.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    generator = numpy.random.default_rng(0)
    frames = []
    for _ in range(30):
        pos = rest + generator.normal(0, 0.05, rest.shape)
        energy, forces = -2000.0, numpy.zeros((3, 3))
        for i, j in ((0, 1), (0, 2), (1, 2)):
            vec, length = pos[j] - pos[i], numpy.linalg.norm(rest[j] - rest[i])
            stretch = numpy.linalg.norm(vec) - length
            energy += 10 * stretch**2
            pull = 20 * stretch * vec / numpy.linalg.norm(vec)
            forces[i] += pull
            forces[j] -= pull
        atoms = Atoms('OH2', pos)
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        frames.append(atoms)
    path = str(tmp_path / 'water.extxyz')
    ase_io.write(path, frames)
    return path


@pytest.fixture
def energy_file(water_file, tmp_path) -> str:
    """The same frames without forces."""
    import ase.io
    frames = ase.io.read(water_file, ':')
    for atoms in frames:
        del atoms.calc.results['forces']
    path = str(tmp_path / 'energies.extxyz')
    ase.io.write(path, frames)
    return path


@pytest.fixture
def copper_file(tmp_path) -> str:
    """24 frames of copper with forces and stresses by EMT, of which six have
    no stress, and a molecule among them."""
    ase_io = pytest.importorskip('ase.io')
    from ase import Atoms
    from ase.build import bulk
    from ase.calculators.emt import EMT
    from ase.calculators.singlepoint import SinglePointCalculator
    generator = numpy.random.default_rng(0)
    frames = []
    for index in range(24):
        atoms = bulk('Cu', cubic=True)
        if index == 3:
            atoms = Atoms('Cu2', [[0, 0, 0], [2.3, 0, 0]])
        atoms.set_cell(atoms.cell.array * generator.uniform(0.96, 1.04),
                       scale_atoms=True)
        atoms.rattle(0.1, rng=generator)
        atoms.calc = EMT()
        results = {'energy': atoms.get_potential_energy(),
                   'forces': atoms.get_forces()}
        if index % 4 != 3:
            results['stress'] = atoms.get_stress()
        atoms.calc = SinglePointCalculator(atoms, **results)
        frames.append(atoms)
    path = str(tmp_path / 'copper.extxyz')
    ase_io.write(path, frames)
    return path


ASF = """# A pelvis with two legs, of which one is listed before its hip.
:version 1.10
:units
  mass 1.0
  angle deg
:root
   order TX TY TZ RX RY RZ
   axis XYZ
   position 0 0 0
   orientation 0 0 0
:bonedata
  begin
     id 1
     name rknee
     direction 0 -1 0
     length 4.0
     axis 10 -20 30 XYZ
    dof rx rz
    limits (-160.0 20.0)
           (-70.0 70.0)
  end
  begin
     id 2
     name rhip
     direction -0.6 -0.8 0
     length 2.5
     axis 0 0 0 XYZ
  end
  begin
     id 3
     name lknee
     direction 0.6 0 0.8
     length 3.0
     axis -90 0 20 XYZ
    dof rx ry rz
  end
:hierarchy
  begin
    root rhip lknee
    rhip rknee
  end
"""


def amc(num_frames, first_frame=1):
    """A motion of the skeleton, line by line."""
    lines = ['#!OML:ASF', ':FULLY-SPECIFIED', ':DEGREES']
    for frame in range(num_frames):
        values = [((17 * frame + 31 * channel) % 41) - 20.0
                  for channel in range(11)]
        lines += [str(first_frame + frame),
                  'root ' + ' '.join(map(str, values[:6])),
                  'rknee ' + ' '.join(map(str, values[6:8])),
                  'lknee ' + ' '.join(map(str, values[8:]))]
    return '\n'.join(lines) + '\n'


@pytest.fixture
def mocap(tmp_path):
    """A folder with a skeleton and trials of 40 frames, one of them compressed
    and cut at its beginning. Of the published protocol, trial 2 is for
    training, 4 for validation, and 1 and 7 are for testing."""
    raw = tmp_path / 'raw'
    raw.mkdir()
    (raw / '35.asf').write_text(ASF)
    for trial in (1, 4, 7):
        (raw / f'35_{trial:02d}.amc').write_text(amc(40))
    with gzip.open(raw / '35_02.amc.gz', 'wt') as file:
        file.write(amc(40, first_frame=11))
    return tmp_path


def qm9_labels(z, pos, references):
    """The columns of gdb9.sdf.csv from A on: a dipole moment and a second
    moment of charges, means and sums over atoms, and energies with those of
    single atoms and without."""
    mass = numpy.where(z == 1, 1.008, 2.0 * z)
    arm = pos - mass @ pos / mass.sum()
    near = numpy.exp(-numpy.linalg.norm(pos[:, None] - pos, axis=2)).sum(1) - 1
    energy = -0.1 * z.sum() - 0.02 * near.sum()  # Hartree
    mu = 4.8032 * numpy.linalg.norm((0.1 * (z - 4) + 0.1 * near) @ arm)
    r2 = ((z + 0.5 * near) * (arm**2).sum(axis=1)).sum() / 0.529177**2
    homo = -0.3 + 0.05 * near.mean()
    lumo = 0.02 + 0.01 * z.mean()
    totals = energy + 0.01 * numpy.arange(4) + [
        sum(column[number] for number in z) for column in references]
    return [1.0, 2.0, 3.0, mu, z.sum() + near.sum(), homo, lumo, lumo - homo,
            r2, 0.01 * len(z) + 0.001 * near.sum(), *totals, 2.5 * len(z),
            *627.5095 * (energy + 0.01 * numpy.arange(4))]


@pytest.fixture
def qm9_root(tmp_path) -> str:
    """A folder of 60 molecules in the raw layout of PyG's QM9, both that for
    rdkit and that without it, of which two are not characterized."""
    from torch_geometric.datasets.qm9 import HAR2EV, atomrefs, conversion
    elements = [1, 6, 7, 8, 9]
    references = [dict(zip(elements, numpy.array(atomrefs[target]) / HAR2EV))
                  for target in (7, 8, 9, 10)]
    generator = numpy.random.default_rng(0)
    names = ('A,B,C,mu,alpha,homo,lumo,gap,r2,zpve,u0,u298,h298,g298,cv,'
             'u0_atom,u298_atom,h298_atom,g298_atom')
    rows, blocks, molecules = [f'mol_id,{names}'], [], []
    for index in range(60):
        num_atoms = int(generator.integers(4, 9))
        z = generator.choice(elements, num_atoms)
        pos = generator.normal(0, 1.2, (num_atoms, 3)).round(4)
        labels = qm9_labels(z, pos, references)
        rows.append(','.join([f'gdb_{index + 1}', *map(repr, map(
            float, labels))]))
        symbols = [dict(zip(elements, 'HCNOF'))[number] for number in z]
        blocks.append('\n'.join([
            f'gdb_{index + 1}', '', '',
            f'{num_atoms:3}  1  0  0  0  0  0  0  0  0  1 V2000',
            *(f'{x:10.4f}{y:10.4f}{height:10.4f} {symbol:3} 0  0  0  0  0  0'
              for symbol, (x, y, height) in zip(symbols, pos)),
            '  1  2  1  0  0  0  0', 'M  END', '$$$$', '']))
        y = torch.tensor(labels, dtype=torch.float)
        if index not in (3, 7):
            molecules.append(dict(
                x=torch.zeros(num_atoms, 11), z=torch.from_numpy(z),
                pos=torch.from_numpy(pos).float(), smiles='C', idx=index,
                edge_index=torch.tensor([[0, 1], [1, 0]]),
                edge_attr=torch.zeros(2, 4), name=f'gdb_{index + 1}',
                y=(torch.cat([y[3:], y[:3]]) * conversion).view(1, 19)))
    raw = tmp_path / 'qm9' / 'raw'
    raw.mkdir(parents=True)
    (raw / 'gdb9.sdf').write_text(''.join(blocks))
    (raw / 'gdb9.sdf.csv').write_text('\n'.join([*rows, '']))
    (raw / 'uncharacterized.txt').write_text('\n'.join(
        9 * ['header'] + ['     4  CC', '     8  N', '2 compounds', '']))
    torch.save(molecules, raw / 'qm9_v3.pt')
    return str(tmp_path / 'qm9')


@pytest.fixture
def fresh_compiler():
    """Of one piece of code, torch compiles eight versions in a process."""
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.fixture
def fast_onednn(monkeypatch):
    """As on a processor on which products are those of oneDNN."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip('This build of torch has no oneDNN')
    monkeypatch.setattr('torch_sake.ops.onednn.is_faster', lambda: True)

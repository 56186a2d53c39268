import numpy as np
import pytest
import torch
from torch_geometric.datasets import MD17

from torch_sake.datasets import md17_frames


def raw(num_frames, seed=0):
    rng = np.random.default_rng(seed)
    return (np.array([6, 1, 8], dtype=np.uint8),
            rng.normal(size=(num_frames, 3, 3)),
            -97196.123456789 + rng.normal(size=num_frames),
            rng.normal(size=(num_frames, 3, 3)))


def save(path, arrays, keys=('z', 'R', 'E', 'F')):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **dict(zip(keys, arrays)))
    return path


def check(frames, arrays):
    z, pos, energy, force = arrays
    assert len(frames) == len(energy)
    assert frames.units == {'length': 'Angstrom', 'energy': 'kcal/mol'}
    for index in (0, len(energy) - 1):
        data = frames[index]
        assert data.z.tolist() == z.tolist()
        assert data.energy.item() == energy[index]
        assert np.array_equal(data.pos.numpy(), pos[index])
        assert np.array_equal(data.force.numpy(), force[index])
        assert data.force.dtype == torch.float64


@pytest.mark.parametrize('folder', ['ethanol/raw', '.'])
def test_md17_original(tmp_path, folder):
    z, pos, energy, force = raw(5)
    save(tmp_path / folder / 'md17_ethanol.npz',
         (z, pos, energy[:, None], force))
    frames = md17_frames(tmp_path, 'ethanol')
    check(frames, raw(5))
    assert frames.name == 'ethanol'
    assert frames.source == 'md17:ethanol'
    assert frames.test_start is None


@pytest.mark.parametrize('folder', ['raw/rmd17/npz_data', '.'])
def test_md17_revised(tmp_path, folder):
    save(tmp_path / folder / 'rmd17_ethanol.npz', raw(4),
         ('nuclear_charges', 'coords', 'energies', 'forces'))
    check(md17_frames(tmp_path, 'revised ethanol'), raw(4))


def test_md17_ccsd(tmp_path):
    folder = tmp_path / 'aspirin CCSD' / 'raw'
    save(folder / 'aspirin_ccsd-train.npz', raw(4))
    save(folder / 'aspirin_ccsd-test.npz', raw(3, seed=1))
    frames = md17_frames(tmp_path, 'aspirin CCSD')
    assert frames.test_start == 4
    check(frames[:4], raw(4))
    check(frames[4:], raw(3, seed=1))

    other = (np.array([1, 1, 1]), *raw(3)[1:])
    save(folder / 'aspirin_ccsd-test.npz', other)
    with pytest.raises(ValueError, match='holds another molecule'):
        md17_frames(tmp_path, 'aspirin CCSD')


@pytest.mark.parametrize('name', ['benzene', 'revised uracil',
                                  'aspirin CCSD'])
def test_md17_finds_the_files_of_pyg(tmp_path, monkeypatch, name):
    def download(self):
        for path in map(type(tmp_path), self.raw_paths):
            keys = ('z', 'R', 'E', 'F')
            if 'revised' in name:
                keys = ('nuclear_charges', 'coords', 'energies', 'forces')
            save(path, raw(2), keys)

    monkeypatch.setattr(MD17, 'download', download)
    frames = md17_frames(tmp_path, name)
    check(frames[:2], raw(2))
    # PyG can still use the same folder.
    train = True if 'CCSD' in name else None
    dataset = MD17(str(tmp_path), name, train=train)
    assert dataset[1].pos.equal(frames[1].pos.float())


def test_md17_failing_download(tmp_path, monkeypatch):
    def download(self):
        raise OSError('no route to host')

    monkeypatch.setattr(MD17, 'download', download)
    with pytest.raises(ValueError, match=r"no route to host.*Place .*"
                       r"toluene_ccsd_t-test.npz.* in .*toluene CCSD\(T\)"):
        md17_frames(tmp_path, 'toluene CCSD(T)')


def test_md17_errors(tmp_path):
    with pytest.raises(ValueError, match="must be one of .*'revised aspirin'"):
        md17_frames(tmp_path, 'rmd17 aspirin')

    path = save(tmp_path / 'md17_ethanol.npz', raw(50))
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ValueError, match='md17_ethanol.npz.*not a complete'):
        md17_frames(tmp_path, 'ethanol')
    save(path, raw(5)[:3])
    with pytest.raises(ValueError, match=r"md17_ethanol.npz.*\['F'\]"):
        md17_frames(tmp_path, 'ethanol')
    z, pos, energy, force = raw(5)
    save(path, (z, pos, energy[:4], force))
    with pytest.raises(ValueError, match=r"md17_ethanol.npz'?: 'R' .*4, 3, 3"):
        md17_frames(tmp_path, 'ethanol')
    force[3, 1, 2] = np.nan
    save(path, (z, pos, energy, force))
    with pytest.raises(ValueError, match="md17:ethanol, frame 3: 'force'"):
        md17_frames(tmp_path, 'ethanol')


def test_md17_real(shared_data):
    frames = md17_frames(shared_data / 'md17', 'ethanol')
    arrays = np.load(shared_data / 'md17' / 'md17_ethanol.npz')
    check(frames, (arrays['z'], arrays['R'], arrays['E'][:, 0], arrays['F']))
    energy = frames.energy
    assert abs(energy.mean().item() + 97196.866) < 1e-3
    assert abs(energy.std(correction=0).item() - 4.610) < 1e-3

import numpy as np
import pytest
import torch
from torch_geometric.datasets import MD17

from torch_sake.datasets import load_frames, md17_frames, md22_frames
from torch_sake.datasets.frames import md17

REVISED = ('nuclear_charges', 'coords', 'energies', 'forces')


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
    save(tmp_path / folder / 'rmd17_ethanol.npz', raw(4), REVISED)
    check(md17_frames(tmp_path, 'revised ethanol'), raw(4))


@pytest.mark.parametrize('folder, places', [
    ('raw/rmd17/npz_data', 'raw/rmd17/splits'), ('.', '.')])
def test_md17_splits(tmp_path, folder, places):
    path = save(tmp_path / folder / 'rmd17_ethanol.npz', raw(20), REVISED)
    assert md17_frames(tmp_path, 'revised ethanol').splits == {}
    generator = np.random.default_rng(0)
    (tmp_path / places).mkdir(exist_ok=True)
    parts = {}
    for number in range(1, 6):
        parts[str(number)] = generator.permutation(20)[:12].reshape(2, 6)
        for part, indices in zip(('train', 'test'), parts[str(number)]):
            np.savetxt(tmp_path / places / f'index_{part}_0{number}.csv',
                       indices, fmt='%d')
    frames = load_frames('rmd17:ethanol', root=tmp_path)
    assert list(frames.splits) == list(parts)
    for number, (train, test) in parts.items():
        split = frames.splits[number]
        assert split.train.tolist() == train.tolist()
        assert split.test.tolist() == test.tolist()
        assert split.val.numel() == 0
    path = tmp_path / places / 'index_test_03.csv'
    path.write_text('1\n2.5\n')
    with pytest.raises(ValueError, match="index_test_03.csv' must hold one"):
        md17_frames(tmp_path, 'revised ethanol')


def test_training_on_a_published_split(tmp_path):
    pytest.importorskip('pytorch_lightning')
    from torch_sake.training import TrainConfig
    from torch_sake.training.data import TrainingData
    save(tmp_path / 'rmd17_ethanol.npz', raw(30), REVISED)
    train, test = np.arange(4, 16), np.arange(20, 29)
    np.savetxt(tmp_path / 'index_train_02.csv', train, fmt='%d')
    np.savetxt(tmp_path / 'index_test_02.csv', test, fmt='%d')
    config = TrainConfig('rmd17:ethanol', root=str(tmp_path), split='2',
                         num_val=3)
    split = TrainingData.from_config(config).split
    assert sorted([*split.train.tolist(), *split.val.tolist()]) == list(train)
    assert split.val.numel() == 3 and split.test.tolist() == list(test)
    config.split = '1'
    with pytest.raises(ValueError, match=r"published splits \['2'\]"):
        TrainingData.from_config(config)


@pytest.mark.parametrize('name, file_name', [
    ('Ac-Ala3-NHMe', 'md22_Ac-Ala3-NHMe.npz'),
    ('double-walled nanotube', 'md22_double-walled_nanotube.npz')])
@pytest.mark.parametrize('placed', ['.', 'NAME/raw', None])
def test_md22(tmp_path, monkeypatch, name, file_name, placed):
    z, pos, energy, force = raw(5)
    arrays = (z, pos, energy[:, None], force)

    def download_url(url, folder):
        assert url.endswith(f'/{file_name}') and placed is None
        assert folder == str(tmp_path / name / 'raw')
        save(tmp_path / name / 'raw' / file_name, arrays)

    monkeypatch.setattr(md17, 'download_url', download_url)
    if placed is not None:
        save(tmp_path / placed.replace('NAME', name) / file_name, arrays)
    frames = load_frames(f'md22:{name}', root=tmp_path)
    check(frames, raw(5))
    assert frames.name == name and frames.source == f'md22:{name}'


def test_md22_errors(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="must be one of .*'stachyose'"):
        md22_frames(tmp_path, 'aspirin')

    def download_url(url, folder):
        raise OSError('no route to host')

    monkeypatch.setattr(md17, 'download_url', download_url)
    with pytest.raises(ValueError, match="MD22 'DHA'.*no route.*md22_DHA.npz"):
        md22_frames(tmp_path, 'DHA')


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
            save(path, raw(2),
                 REVISED if 'revised' in name else ('z', 'R', 'E', 'F'))

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


def test_units_that_a_file_declares(tmp_path):
    path = save(tmp_path / 'md22_DHA.npz', raw(6))
    np.savez(path, **np.load(path), e_unit='eV', r_unit='bohr')
    assert md22_frames(tmp_path, 'DHA').units == {'length': 'Bohr',
                                                  'energy': 'eV'}

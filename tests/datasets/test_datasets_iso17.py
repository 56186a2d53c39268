import numpy as np
import pytest
import torch

from torch_sake.datasets import ISO17, load_frames
from torch_sake.datasets.frames import iso17

ase = pytest.importorskip('ase')

DATABASES = {'reference.db': 12, 'test_within.db': 3, 'test_other.db': 4}
IDS = {'train_ids.txt': [2, 12, 3, 4, 9, 1, 7], 'validation_ids.txt': [5, 10]}


def write(folder):
    """Writes the files in the layout of the archive, and returns the arrays
    of the frames."""
    from ase.db import connect
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    rows = []
    for name, number in DATABASES.items():
        with connect(folder / name) as database:
            for index in range(number):
                atoms = ase.Atoms('C7O2H10', generator.normal(size=(19, 3)))
                energy = -11000.123456789 + generator.normal()
                force = generator.normal(size=(19, 3))
                # Older versions of ASE wrote lists.
                data = {'atomic_forces': force.tolist() if index % 2 else
                        force}
                database.write(atoms, total_energy=energy, data=data)
                rows.append((atoms.numbers, atoms.positions, energy, force))
    for name, numbers in IDS.items():
        (folder / name).write_text('\n'.join(map(str, numbers)) + '\n')
    return rows


@pytest.mark.parametrize('folder', ['raw/iso17', '.'])
def test_frames_and_splits(tmp_path, folder):
    rows = write(tmp_path / folder)
    frames = load_frames('iso17', root=tmp_path)
    assert isinstance(frames, ISO17) and len(frames) == len(rows) == 19
    assert frames.units == {'length': 'Angstrom', 'energy': 'eV'}
    for index, (z, pos, energy, force) in enumerate(rows):
        data = frames[index]
        assert data.z.tolist() == z.tolist()
        assert np.array_equal(data.pos.numpy(), pos)
        assert data.energy.item() == energy
        assert np.array_equal(data.force.numpy(), force)
    assert list(frames.splits) == ['within', 'other']
    for split in frames.splits.values():
        assert split.train.tolist() == [1, 11, 2, 3, 8, 0, 6]
        assert split.val.tolist() == [4, 9]
    assert frames.splits['within'].test.tolist() == [12, 13, 14]
    assert frames.splits['other'].test.tolist() == [15, 16, 17, 18]
    assert frames.test_start == 12
    assert frames[:3].splits == {}


def test_numbers_with_gaps(tmp_path):
    from ase.db import connect
    write(tmp_path)
    with connect(tmp_path / 'reference.db') as database:
        expected = [database.get(id=number)['total_energy']
                    for number in IDS['train_ids.txt']]
        database.delete([6, 8])
    frames = ISO17(tmp_path)
    assert len(frames) == 17
    train = frames[frames.splits['other'].train]
    assert train.energy.tolist() == expected
    with connect(tmp_path / 'reference.db') as database:
        database.delete([7])
    with pytest.raises(ValueError, match=r"train_ids.txt' must .*\(got 7\)"):
        ISO17(tmp_path)


def test_download(tmp_path, monkeypatch):
    import tarfile

    def download_url(url, folder):
        assert url.endswith('/iso17.tar.gz')
        write(tmp_path / 'archive' / 'iso17')
        (tmp_path / 'data' / 'raw').mkdir(parents=True)
        path = str(tmp_path / 'data' / 'raw' / 'iso17.tar.gz')
        with tarfile.open(path, 'w:gz') as archive:
            archive.add(tmp_path / 'archive' / 'iso17', 'iso17')
        return path

    monkeypatch.setattr(iso17, 'download_url', download_url)
    assert len(ISO17(tmp_path / 'data')) == 19
    assert [path.name for path in (tmp_path / 'data' / 'raw').iterdir()] == [
        'iso17']
    monkeypatch.undo()
    assert len(ISO17(tmp_path / 'data')) == 19  # it is there now


def test_errors(tmp_path, monkeypatch):
    def download_url(url, folder):
        raise OSError('no route to host')

    monkeypatch.setattr(iso17, 'download_url', download_url)
    with pytest.raises(ValueError, match='ISO17 .*no route to host.*Place'):
        ISO17(tmp_path)
    write(tmp_path)
    path = tmp_path / 'validation_ids.txt'
    path.write_text('1\ntwo\n')
    with pytest.raises(ValueError, match="validation_ids.txt' must hold one"):
        ISO17(tmp_path)
    path.write_text('5\n10\n')
    path = tmp_path / 'test_other.db'
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match="test_other.db'.* cannot be read"):
        ISO17(tmp_path)
    from ase.db import connect
    path.unlink()
    connect(path).write(ase.Atoms('H'), total_energy=1.0)
    with pytest.raises(ValueError, match="test_other.db', frame 0.*"
                       "atomic_forces"):
        ISO17(tmp_path)


def test_training_on_a_published_split(tmp_path):
    pytest.importorskip('pytorch_lightning')
    from torch_sake.training import TrainConfig
    from torch_sake.training.data import TrainingData
    write(tmp_path)
    config = TrainConfig('iso17', root=str(tmp_path), split='other')
    data = TrainingData.from_config(config)
    for name, part in vars(data.frames.splits['other']).items():
        assert torch.equal(getattr(data.split, name), part)


def test_test_frames_of_the_other_split(tmp_path, capsys):
    for name in ('pytorch_lightning', 'jsonargparse', 'matplotlib'):
        pytest.importorskip(name)
    from torch_sake.cli import main
    from torch_sake.training import TrainConfig, Trainer
    write(tmp_path)
    out = str(tmp_path / 'run')
    Trainer(TrainConfig('iso17', root=str(tmp_path), split='within', out=out,
                        num_steps=1, hidden_channels=4, num_layers=1,
                        num_rbf=4)).fit()
    arguments = ['evaluate', '--checkpoint', out, '--data', 'iso17', '--root',
                 str(tmp_path), '--split']
    assert main([*arguments, 'other']) == 0
    assert 'on test frames of iso17 (4)' in capsys.readouterr().out
    assert main([*arguments, 'elsewhere']) == 2
    assert "['other', 'within']" in capsys.readouterr().err
    assert main([*arguments, 'other', '--part', 'all']) == 2
    assert "'part' must be 'test'" in capsys.readouterr().err
    # The same frames in another role:
    (tmp_path / 'reference.db').rename(tmp_path / 'frames.db')
    (tmp_path / 'test_within.db').rename(tmp_path / 'reference.db')
    (tmp_path / 'frames.db').rename(tmp_path / 'test_within.db')
    (tmp_path / 'train_ids.txt').write_text('1\n')
    (tmp_path / 'validation_ids.txt').write_text('2\n')
    assert main([*arguments, 'within']) == 2
    assert 'that the run was fitted to' in capsys.readouterr().err

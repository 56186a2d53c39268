import os

import numpy as np
import pytest

from torch_sake.utils.files import read_arrays, replace_when_complete


def test_replace_when_complete(tmp_path):
    path = tmp_path / 'new' / 'text.npz'
    with replace_when_complete(path) as temporary:
        assert temporary.endswith('.npz')
        assert os.stat(os.path.dirname(temporary)).st_dev == os.stat(
            tmp_path).st_dev
        with open(temporary, 'w') as file:
            file.write('first')
        assert not path.exists()
    assert path.read_text() == 'first'
    assert os.listdir(path.parent) == ['text.npz']


@pytest.mark.parametrize('allowed', [True, False])
def test_replace_when_complete_survives_a_power_cut(tmp_path, monkeypatch,
                                                    allowed):
    path, calls = tmp_path / 'text', []
    fsync, replace = os.fsync, os.replace

    def recorded_fsync(descriptor):
        state = os.fstat(descriptor)
        calls.append((state.st_ino, state.st_size))
        if not allowed and state.st_ino == tmp_path.stat().st_ino:
            raise OSError('This file system does not know that')
        fsync(descriptor)

    def recorded_replace(*args):
        calls.append('replace')
        replace(*args)

    monkeypatch.setattr(os, 'fsync', recorded_fsync)
    monkeypatch.setattr(os, 'replace', recorded_replace)
    with replace_when_complete(path) as temporary:
        with open(temporary, 'w') as file:
            file.write('all')
    assert path.read_text() == 'all'
    assert calls[:2] == [(path.stat().st_ino, 3), 'replace']
    folders = [] if os.name == 'nt' else [tmp_path.stat().st_ino]
    assert [inode for inode, _ in calls[2:]] == folders


@pytest.mark.parametrize('error', [RuntimeError, KeyboardInterrupt])
def test_replace_when_complete_keeps_the_old_file(tmp_path, error):
    path = tmp_path / 'text'
    path.write_text('old')
    with pytest.raises(error):
        with replace_when_complete(path) as temporary:
            with open(temporary, 'w') as file:
                file.write('half')
            raise error
    assert path.read_text() == 'old'
    assert os.listdir(tmp_path) == ['text']


def test_read_arrays(tmp_path):
    path = tmp_path / 'a.npz'
    np.savez(path, a=np.arange(1000.0), b=np.zeros(2))
    arrays = read_arrays(path, ['a'])
    assert list(arrays) == ['a']
    assert np.array_equal(arrays['a'], np.arange(1000.0))
    assert list(read_arrays(path, optional=['b', 'c'])) == ['b']

    with pytest.raises(ValueError, match=r"a.npz' has no array \['c'\]"):
        read_arrays(path, ['a', 'c'])
    with pytest.raises(ValueError, match='no file'):
        read_arrays(tmp_path / 'b.npz', ['a'])

    content = path.read_bytes()
    for damaged in (b'', content[:500], b'no archive',
                    content[:500] + bytes(100) + content[600:]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="a.npz' is not a complete"):
            read_arrays(path, ['a'])

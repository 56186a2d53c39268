import os

import numpy as np
import pytest

from torch_sake.files import read_arrays, replace_when_complete


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

import errno
import os
import subprocess
import sys
import threading
import time

import pytest

from torch_sake.utils.locks import hold_file, hold_folder

# Holds a folder, has a child that lives on, and says so:
HOLDER = """
import os, sys, time
from torch_sake.utils.locks import hold_folder
with hold_folder(sys.argv[1]):
    child = os.fork() if hasattr(os, 'fork') else 0
    if child == 0:  # which lets go of the lock before anything else
        print('held', flush=True)
    time.sleep(60 if child else 20)
    os._exit(0)
"""


def test_a_folder_has_one_holder(tmp_path):
    folder = tmp_path / 'run'
    with hold_folder(folder):
        for _number in range(2):  # the first refusal changes nothing
            with pytest.raises(ValueError, match=(
                    f"'{folder}' must not be written to by two at a time "
                    f".process {os.getpid()} on ")):
                with hold_folder(folder):
                    pass
        with hold_folder(tmp_path / 'other'):
            pass
    assert os.listdir(folder) == []
    with pytest.raises(KeyError), hold_folder(folder):
        raise KeyError
    with hold_folder(folder):
        pass


def test_a_killed_process_keeps_nobody_out(tmp_path):
    process = subprocess.Popen([sys.executable, '-c', HOLDER, str(tmp_path)],
                               stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == 'held\n'
        with pytest.raises(ValueError, match=f'.process {process.pid} on '):
            with hold_folder(tmp_path):
                pass
    finally:
        process.kill()
        process.wait(60)
    assert os.listdir(tmp_path) == ['.lock']
    with hold_folder(tmp_path):
        pass
    assert os.listdir(tmp_path) == []


def test_whatever_a_lock_has_in_it(tmp_path):
    for content in (b'', b'\xff\xfe', b'process 1 on \x1b[31m', b'x' * 9999):
        with hold_folder(tmp_path):
            (tmp_path / '.lock').write_bytes(content)
            with pytest.raises(ValueError, match='.another process is at it'):
                with hold_folder(tmp_path):
                    pass


def test_files_have_holders_of_their_own(tmp_path):
    with hold_file(tmp_path / 'a'), hold_file(tmp_path / 'b'):
        with pytest.raises(ValueError, match="a' must not be written to"):
            with hold_file(tmp_path / 'a'):
                pass
    assert os.listdir(tmp_path) == []


def test_waiting(tmp_path, capsys):
    order = []

    def second():
        with hold_file(tmp_path / 'a', wait=True):
            order.append('second')

    thread = threading.Thread(target=second)
    with hold_file(tmp_path / 'a'):
        thread.start()
        time.sleep(0.3)
        order.append('first')
    thread.join()
    assert order == ['first', 'second']
    assert 'Waiting for process' in capsys.readouterr().err


@pytest.mark.skipif(os.name == 'nt', reason='POSIX locks')
@pytest.mark.parametrize('number', [errno.ENOLCK, errno.ENOSYS])
def test_file_systems_without_locks(tmp_path, monkeypatch, number):
    import fcntl

    def flock(*args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, 'flock', flock)
    for _ in range(2):
        with pytest.warns(UserWarning, match='has no locks: nothing keeps'):
            with hold_folder(tmp_path):
                pass


def test_folders_that_cannot_be_written(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(OSError):
        with hold_folder(tmp_path / 'file'):
            pass


@pytest.mark.skipif(os.name == 'nt', reason='links need rights there')
def test_links_are_not_followed(tmp_path):
    (tmp_path / 'mine').write_text('precious')
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / '.lock').symlink_to(tmp_path / 'mine')
    with pytest.raises(OSError):
        with hold_folder(tmp_path / 'run'):
            pass
    assert (tmp_path / 'mine').read_text() == 'precious'


def test_many_threads_at_once(tmp_path):
    """Files that are removed and made again let nobody in by mistake."""
    inside, most, times = [], [], []

    def work():
        while len(times) < 300:
            try:
                with hold_folder(tmp_path):
                    inside.append(0)
                    most.append(len(inside))
                    times.append(0)
                    inside.pop()
            except ValueError:
                pass

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1 and os.listdir(tmp_path) == []

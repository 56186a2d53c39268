r"""Files and folders that one process at a time writes to."""

import errno
import inspect
import os
import os.path as osp
import platform
import re
import sys
import warnings
from contextlib import contextmanager, suppress
from typing import Iterator

from torch_sake.files import PathLike

LOCK = '.lock'
# What file systems answer that have no locks:
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL,
            errno.EBADF)


@contextmanager
def hold_folder(folder: PathLike) -> Iterator[None]:
    r"""Within this context, nobody else is within one for the same folder, on
    no machine that shares it. The folder is created if missing.

    The system forgets a lock with the process that has it, however that ends:
    what a killed one leaves behind keeps nobody out.

    Args:
        folder (str or os.PathLike): The folder.

    Raises:
        ValueError: If somebody else is.
    """
    os.makedirs(folder, exist_ok=True)
    with _hold(osp.join(folder, LOCK), folder, False):
        yield


@contextmanager
def hold_file(path: PathLike, wait: bool = False) -> Iterator[None]:
    r"""The same for a single file and its folder, which others may write
    other files to.

    Args:
        path (str or os.PathLike): The file.
        wait (bool, optional): If set to :obj:`True`, somebody else is waited
            for. (default: :obj:`False`)

    Raises:
        ValueError: If somebody else is and is not waited for.
    """
    folder, name = osp.split(osp.abspath(path))
    os.makedirs(folder, exist_ok=True)
    with _hold(osp.join(folder, f'.{name}{LOCK}'), path, wait):
        yield


@contextmanager
def _hold(path: str, subject: PathLike, wait: bool) -> Iterator[None]:
    from filelock import FileLock, Timeout  # it takes a while
    options = {}
    # Where there are no locks, newer versions make do with files, which stay
    # when a process is killed:
    if 'fallback_to_soft' in inspect.signature(FileLock).parameters:
        options['fallback_to_soft'] = False
    lock, holder = FileLock(path, **options), _read_holder(path)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if not wait:
                raise ValueError(
                    f"'{subject}' must not be written to by two at a time "
                    f"({holder} is at it)") from None
            print(f"Waiting for {holder}, which writes '{subject}'",
                  file=sys.stderr)
            lock.acquire()
    except (OSError, NotImplementedError) as error:
        if getattr(error, 'errno', errno.ENOSYS) not in NO_LOCKS:
            raise
        warnings.warn(f"The file system of '{subject}' has no locks: nothing "
                      f"keeps a second process from writing to it ({error})")
        yield
        return
    try:
        with suppress(OSError), open(path, 'w') as file:
            file.write(f'process {os.getpid()} on {platform.node()}')
        yield
    finally:
        with suppress(OSError):  # while nobody else can have it
            os.remove(path)
        lock.release()


def _read_holder(path: str) -> str:
    with suppress(OSError, UnicodeDecodeError), open(path) as file:
        text = file.read(200)
        if re.fullmatch(r'process \d+ on [\w.-]*', text):
            return text
    return 'another process'

r"""Files and folders that one process at a time writes to."""

import errno
import os
import os.path as osp
import platform
import re
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from torch_sake.utils.paths import PathLike

if sys.platform == 'win32':
    import msvcrt

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, 1 << 30, os.SEEK_SET)  # others can read the rest
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

LOCK = '.lock'
# What the system says of a lock that somebody else has, and of file systems
# that know none:
TAKEN = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES)
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)

_held: set[int] = set()  # descriptors


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
    r"""The same for a single file, in a folder that others may write other
    files to.

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
    try:
        descriptor = _take(path)
        if descriptor is None and not wait:
            raise ValueError(f"'{subject}' must not be written to by two at a "
                             f"time ({_holder(path)} is at it)")
        if descriptor is None:
            print(f"Waiting for {_holder(path)}, which writes '{subject}'",
                  file=sys.stderr)
        while descriptor is None:
            time.sleep(0.1)
            descriptor = _take(path)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        warnings.warn(f"The file system of '{subject}' has no locks: nothing "
                      f"keeps a second process from writing to it ({error})")
        yield
        return
    _held.add(descriptor)
    try:
        with suppress(OSError):  # of a full disk
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f'process {os.getpid()} on '
                                 f'{platform.node()}'.encode())
        yield
    finally:
        if descriptor in _held:  # not in a child
            _held.remove(descriptor)
            with suppress(OSError):  # while nobody else can have it
                os.remove(path)
            os.close(descriptor)


def _take(path: str) -> int | None:
    r"""Returns the descriptor of a locked file, or :obj:`None` if somebody
    else has it.
    """
    # A link could lead to any file of the user.
    flags = os.O_RDWR | os.O_CREAT | getattr(os, 'O_NOFOLLOW', 0)
    while True:
        try:
            descriptor = os.open(path, flags, 0o666)
        except PermissionError:  # that of another user, who may be gone
            descriptor = os.open(path, flags & ~(os.O_RDWR | os.O_CREAT))
        try:
            _lock(descriptor)
            # Who had it before may have removed it in the meantime.
            with suppress(FileNotFoundError):
                if osp.samestat(os.fstat(descriptor), os.stat(path)):
                    return descriptor
            os.close(descriptor)
        except OSError as error:
            os.close(descriptor)
            if error.errno in TAKEN:
                return None
            raise


def _holder(path: str) -> str:
    with suppress(OSError, UnicodeDecodeError), open(path) as file:
        text = file.read(200)
        if re.fullmatch(r'process \d+ on [\w.-]*', text):
            return text
    return 'another process'


def _forget_in_child() -> None:
    r"""A child has the locks of its parent, too, and would keep them when that
    is killed.
    """
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_forget_in_child)

r"""The folder in which torch's compiler keeps libraries, of which a process
that was killed while it compiled leaves parts that nothing can load.
"""

import logging
import os
import os.path as osp
import pickle
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from glob import escape, iglob
from typing import Any

from filelock import FileLock, Timeout
from torch._inductor.codecache import cache_dir
from torch._inductor.exc import CppCompileError
from torch._inductor.utils import fresh_inductor_cache

ELF_HEADER = 64
MAX_LENGTH = 80


def remove_broken_libraries() -> None:
    r"""Removes libraries that are not whole, which torch takes for compiled:
    to load one is an error at best and kills the process at worst. Those that
    another process is at, by torch's own lock, are left alone.
    """
    try:
        folder = cache_dir()
        for path in iglob(osp.join(escape(folder), '*', '*.so')):
            if is_whole(path):
                continue
            name = osp.basename(path).partition('.')[0]
            try:
                with FileLock(osp.join(folder, 'locks', f'{name}.lock'),
                              timeout=0):
                    if not is_whole(path):
                        os.remove(path)
            except Timeout:
                pass
    except OSError:  # a folder that this process may not read or change
        pass


def is_whole(path: str) -> bool:
    r"""Returns whether a library has its table of sections, which linkers
    write to its end. Those that are not ELF only need a beginning.
    """
    with open(path, 'rb') as file:
        header = file.read(ELF_HEADER)
        size = os.fstat(file.fileno()).st_size
    if len(header) < ELF_HEADER or not any(header):
        return False
    if not header.startswith(b'\x7fELF\x02'):  # of 64 bits
        return True
    order = 'little' if header[5] == 1 else 'big'
    offset, entry_size, num_entries = (
        int.from_bytes(header[begin:end], order)
        for begin, end in ((40, 48), (58, 60), (60, 62)))
    return offset + entry_size * num_entries <= size


def compile_again_if_files_fail(call: Callable[[], Any]) -> Any:
    r"""Returns what a call that compiles something returns. If a file or the
    C++ compiler fails in it, it is called again with an empty folder.
    """
    try:
        with _no_logs():
            return call()
    except Exception as error:
        cause = _cause(error)
        if not _comes_from_files(cause):
            raise
        _remove_precompiled_headers(cause)
    failed = None
    with fresh_inductor_cache():  # which logs errors that pass it
        try:
            return call()
        except Exception as error:
            failed = error
    raise failed


@contextmanager
def _no_logs() -> Iterator[None]:
    r"""Within this context, torch does not log what it found in its files."""
    logger = logging.getLogger('torch._inductor.codecache')
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def describe(error: Exception) -> str:
    r"""Returns the error in one short line, and what to do about it."""
    cause = _cause(error)
    lines = str(cause).splitlines()
    if isinstance(cause, CppCompileError):  # after a long command
        lines = cause.output.splitlines()
        lines = [line for line in lines if 'error' in line.lower()] or lines
    line = textwrap.shorten(next(filter(str.strip, lines), ''), MAX_LENGTH)
    advice = ''
    if _comes_from_files(cause) or type(cause).__name__ == (
            'InvalidCxxCompiler'):
        advice = '. It needs a C++ compiler, memory and disk space'
    return f'({type(cause).__name__}: {line}){advice}'


def _cause(error: Exception) -> Exception:
    while getattr(error, 'inner_exception', None) is not None:
        error = error.inner_exception
    return error


def _comes_from_files(cause: Exception) -> bool:
    return isinstance(cause, (OSError, ImportError, EOFError, CppCompileError,
                              pickle.UnpicklingError)) and not isinstance(
                                  cause, ModuleNotFoundError)


def _remove_precompiled_headers(cause: Exception) -> None:
    # They are kept elsewhere, and an empty folder does not help against
    # broken ones. A good one takes seconds to make again.
    for argument in getattr(cause, 'cmd', ()):
        if argument.endswith('.h') and osp.exists(f'{argument}.gch'):
            os.remove(f'{argument}.gch')

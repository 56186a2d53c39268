import os
import shutil
import subprocess
import sys
import warnings

import pytest
import torch
from filelock import FileLock
from torch._inductor.exc import CppCompileError, InvalidCxxCompiler

from torch_sake.ops import compiler_cache
from torch_sake.potentials.compilable import Compilable

SCRIPT = """
import torch
from torch_sake.potentials.compilable import Compilable

class Sizes(Compilable):
    def total(self, z, pos, batch, batch_size):
        return z.new_zeros(batch_size, dtype=pos.dtype).index_add(
            0, batch, pos.square().sum(dim=1))

sizes, z, pos = Sizes(), torch.ones(5).long(), torch.randn(5, 3)
sizes.weight = torch.nn.Parameter(torch.ones(1))
sizes.compiled = True
with torch.no_grad():
    out = sizes._call_compiled(Sizes.total, z, pos, None, False)
if out is not None:
    assert torch.allclose(out, pos.square().sum())
print('compiled' if sizes.compiled else 'not compiled')
"""

# A compiler that writes down that it is called, and does something before:
COMPILER = """#!/bin/sh
case "$*" in *" -o "*) ;; *) exec {cxx} "$@" ;; esac
echo "$*" >> "{calls}"
{before}
exec {cxx} "$@"
"""


@pytest.fixture
def run(tmp_path):
    cxx = shutil.which(os.environ.get('CXX', 'g++'))
    if cxx is None or sys.platform != 'linux':
        pytest.skip('No g++')
    folder = tmp_path / 'cache'

    def run(before=''):
        """Returns what a process prints and how often it compiles."""
        calls, compiler = tmp_path / 'calls', tmp_path / 'compiler'
        calls.write_text('')
        compiler.write_text(COMPILER.format(
            cxx=cxx, calls=calls, before=before))
        compiler.chmod(0o755)
        # Headers that are compiled in advance are large, and kept elsewhere.
        environment = dict(
            os.environ, CXX=str(compiler), OMP_NUM_THREADS='1',
            TORCHINDUCTOR_CACHE_DIR=str(folder),
            TORCHINDUCTOR_CPP_CACHE_PRECOMPILE_HEADERS='0')
        done = subprocess.run([sys.executable, '-c', SCRIPT], text=True,
                              capture_output=True, env=environment,
                              start_new_session=True, timeout=300)
        return (done.stdout.strip(), done.stderr.strip(),
                len(calls.read_text().splitlines()))

    run.libraries = lambda: sorted(folder.glob('*/*.so'))
    return run


@pytest.mark.compile
@pytest.mark.slow
def test_killed_while_it_compiles(run):
    # The compiler has begun to write when all of its session is killed:
    out, _, _ = run("""
        case "$*" in *main.cpp*)
            while [ "$1" != -o ]; do shift; done
            : > "$2"
            kill -9 0 ;;
        esac""")
    assert out == ''
    assert [path.stat().st_size for path in run.libraries()
            if path.match('*.main.so')] == [0]
    out, error, count = run()
    assert (out, error) == ('compiled', '') and count > 0
    assert run() == ('compiled', '', 0)  # from the folder


@pytest.mark.compile
@pytest.mark.slow
def test_libraries_that_are_not_whole(run):
    assert run()[:2] == ('compiled', '')
    sizes = {path: path.stat().st_size for path in run.libraries()}
    assert sizes and all(map(compiler_cache.is_whole, sizes))
    # One of them is the loop, others show what the processor can do. Torch
    # dies of a bus error at the last of these lengths.
    for path, size in sizes.items():
        os.truncate(path, size - 1)
        assert not compiler_cache.is_whole(path)
        os.truncate(path, 8000)
        assert not compiler_cache.is_whole(path)
    assert run() == ('compiled', '', len(sizes))
    assert {path: path.stat().st_size for path in run.libraries()} == sizes
    assert run() == ('compiled', '', 0)


@pytest.mark.compile
@pytest.mark.slow
def test_compiler_that_fails_once(run, tmp_path):
    # Such as one killed for its memory; files of other names are probes.
    out, error, _ = run(f"""
        case "$*" in *main.cpp*) mkdir {tmp_path}/once 2>/dev/null &&
            kill -9 $$ ;; esac""")
    assert (out, error) == ('compiled', '')


@pytest.mark.parametrize('before, cause', [
    ('seq 300 >&2; echo "x.cpp:3: error: no" >&2; exit 1',
     'CppCompileError: x.cpp:3: error: no'),
    ('kill -9 $$', 'CppCompileError: '),
])
@pytest.mark.compile
@pytest.mark.slow
def test_compiler_that_always_fails(run, before, cause):
    out, error, _ = run(before)
    assert out == 'not compiled'
    line, = error.splitlines()
    assert 'Compilation failed, all is computed without it, more slowly' in (
        line) and cause in line and len(line) < 250


def test_whole_libraries(tmp_path):
    path = tmp_path / 'library.so'
    shutil.copy(torch._C.__file__, path)
    size = path.stat().st_size
    assert compiler_cache.is_whole(path)
    for length in (size // 2, 64, 63, 5, 1, 0):
        os.truncate(path, length)
        assert not compiler_cache.is_whole(path)
    path.write_bytes(bytes(size))  # after the machine was switched off
    assert not compiler_cache.is_whole(path)


def test_libraries_at_work_are_left_alone(tmp_path, monkeypatch):
    monkeypatch.setenv('TORCHINDUCTOR_CACHE_DIR', str(tmp_path))
    for folder in ('ab', 'locks'):
        (tmp_path / folder).mkdir()
    path = tmp_path / 'ab' / 'cabc.main.so'
    path.touch()
    with FileLock(tmp_path / 'locks' / 'cabc.lock'):
        compiler_cache.remove_broken_libraries()
        assert path.exists()
    compiler_cache.remove_broken_libraries()
    assert not path.exists()
    path.write_bytes(64 * b'x')  # of another system
    compiler_cache.remove_broken_libraries()
    assert path.exists()


class Failing(Compilable):
    """A module whose compiler raises some errors before it works."""
    def __init__(self, monkeypatch, *errors):
        super().__init__()
        self.folders, errors = [], list(errors)
        self.weight = torch.nn.Parameter(torch.ones(1))

        def compile_function(function):
            self.folders.append(compiler_cache.cache_dir())
            if errors:
                raise errors.pop(0)
            return function

        monkeypatch.setattr(compiler_cache.__package__ +
                            '.compilation.compile_function', compile_function)
        self.compiled = True

    def function(self, z, pos, batch, batch_size):
        return pos.sum()

    def __call__(self):
        z, pos = torch.ones(2).long(), torch.ones(2, 3)
        return self._call_compiled(Failing.function, z, pos, None, False)


def test_files_that_fail_once(monkeypatch, tmp_path):
    monkeypatch.setenv('TORCHINDUCTOR_CACHE_DIR', str(tmp_path))
    header = tmp_path / 'abc.h'
    compiled_header = tmp_path / 'abc.h.gch'
    for error in (ImportError('x.so: file too short'), EOFError(),
                  OSError('x.so: invalid ELF header'),
                  PermissionError(13, 'Permission denied'),
                  CppCompileError(['g++', '-include', str(header)], 'PCH')):
        compiled_header.touch()
        module = Failing(monkeypatch, error)
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            assert float(module()) == 6 and module.compiled
        first, second = module.folders
        assert first == str(tmp_path) != second
        assert not os.path.exists(second)
        assert os.environ['TORCHINDUCTOR_CACHE_DIR'] == str(tmp_path)
    assert not compiled_header.exists()


@pytest.mark.parametrize('error, line', [
    (InvalidCxxCompiler(), "(InvalidCxxCompiler: No working C++ compiler "
     "found in "
     "torch._inductor.config.cpp.cxx: "),
    (RuntimeError('\n \nsome other\nfault'), '(RuntimeError: some other)'),
    (ValueError(), '(ValueError: )'),
])
def test_other_errors_are_not_tried_again(monkeypatch, error, line):
    module = Failing(monkeypatch, error)
    with pytest.warns(UserWarning) as records:
        assert module() is None
    assert len(module.folders) == 1 and not module.compiled
    message = str(records[0].message)
    assert message.startswith('Compilation failed') and '\n' not in message
    assert line in message

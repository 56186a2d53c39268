r"""What an installation consists of."""

import os.path as osp
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import torch_sake

ROOT = Path(__file__).resolve().parent.parent
BUILD = ('from setuptools import build_meta as build; '
         'build.build_wheel("dist"); build.build_sdist("dist")')
RELEASED = [f'torch_sake/potentials/released/one.{ending}'
            for ending in ('safetensors', 'json')]


@pytest.fixture(scope='module')
def built(tmp_path_factory) -> tuple[zipfile.ZipFile, tarfile.TarFile]:
    r"""The wheel and the source distribution of a copy of the checkout."""
    path = tmp_path_factory.mktemp('wheel')
    for name in ('pyproject.toml', 'setup.py', 'README.rst', 'LICENSE'):
        shutil.copy(ROOT / name, path)
    for name in ('torch_sake', 'tests'):
        shutil.copytree(ROOT / name, path / name,
                        ignore=shutil.ignore_patterns('__pycache__'))
    for name in RELEASED:
        released = path / name
        released.parent.mkdir(exist_ok=True)
        released.write_text(name)
    subprocess.run([sys.executable, '-c', BUILD], cwd=path, check=True,
                   capture_output=True, text=True, timeout=300)
    wheel, = path.glob('dist/*.whl')
    source, = path.glob('dist/*.tar.gz')
    return zipfile.ZipFile(wheel), tarfile.open(source)


def test_the_wheel_holds_the_package_and_nothing_else(built):
    names = set(built[0].namelist())
    assert 'torch_sake/py.typed' in names
    assert {osp.dirname(name).split('/')[0] for name in names} == {
        'torch_sake', f'torch_sake-{torch_sake.__version__}.dist-info'}
    assert {name for name in names if name.endswith('.py')} == {
        file.relative_to(ROOT).as_posix()
        for file in (ROOT / 'torch_sake').rglob('*.py')}


def test_potentials_are_part_of_both(built):
    wheel, source = built
    folder = ROOT / 'torch_sake' / 'potentials' / 'released'
    files = [file.relative_to(ROOT).as_posix() for file in folder.glob('*')]
    for name in [*RELEASED, *files]:
        assert name in wheel.namelist()
        assert f'torch_sake-{torch_sake.__version__}/{name}' in (
            source.getnames())
    assert wheel.read(RELEASED[0]).decode() == RELEASED[0]


def test_license_and_metadata(built):
    wheel, source = built
    info = f'torch_sake-{torch_sake.__version__}.dist-info'
    text = (ROOT / 'LICENSE').read_text()
    assert text.startswith('MIT License')
    assert wheel.read(f'{info}/licenses/LICENSE').decode() == text
    assert f'torch_sake-{torch_sake.__version__}/LICENSE' in source.getnames()
    metadata = wheel.read(f'{info}/METADATA').decode().splitlines()
    for line in ('Author: torch_sake contributors',
                 'License-Expression: MIT', 'Requires-Python: >=3.10'):
        assert line in metadata


def test_versions_are_the_same():
    for name, line in (('CITATION.cff', 'version: {}'),
                       ('CHANGELOG.rst', '{} (')):
        lines = (ROOT / name).read_text().splitlines()
        assert any(text.startswith(line.format(torch_sake.__version__))
                   for text in lines), name

import re
from pathlib import Path

from setuptools import find_packages, setup

root = Path(__file__).resolve().parent
source = (root / 'torch_sake' / 'version.py').read_text()
version = re.search(r"__version__ = '(.+)'", source).group(1)

train = [
    'ase>=3.27',  # LangevinBAOAB
    'jsonargparse[signatures]>=4.30',
    'matplotlib>=3.7',
    'pytorch-lightning>=2.5,!=2.6.2,!=2.6.3',
    'tblite>=0.4',
]
openmm = ['openmm>=8.5']  # PythonForce
qm9 = []  # needs no more: a name that is kept
test = [
    *train,
    *openmm,
    'hypothesis>=6.80',
    'pytest>=9',
    'pytest-xdist>=3.5',
    'rdkit',  # by which PyG reads QM9, to compare
    'setuptools>=77',  # builds a wheel
    'tensorboard>=2.14',
]
check = ['mypy>=1.15', 'ruff>=0.12']
docs = [
    *train,
    *openmm,
    'furo>=2024.8.6',
    'latex2mathml>=3.77',
    'sphinx>=7.4',
    'sphinx-copybutton>=0.5',
]

setup(
    name='torch-sake',
    version=version,
    description='Spatial attention kinetic networks with E(n)-equivariance '
    'for PyTorch Geometric',
    long_description=(root / 'README.rst').read_text(),
    long_description_content_type='text/x-rst',
    author='torch_sake contributors',
    license_expression='MIT',
    license_files=['LICENSE'],
    keywords=[
        'equivariance', 'graph-neural-networks', 'interatomic-potential',
        'molecular-dynamics', 'pytorch-geometric'
    ],
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Science/Research',
        'Operating System :: MacOS',
        'Operating System :: Microsoft :: Windows',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Topic :: Scientific/Engineering :: Chemistry',
        'Topic :: Scientific/Engineering :: Physics',
        'Typing :: Typed',
    ],
    python_requires='>=3.10',
    packages=find_packages(include=['torch_sake', 'torch_sake.*']),
    package_data={'torch_sake': ['py.typed', 'potentials/released/*']},
    install_requires=[
        'filelock',  # comes with torch
        'numpy',
        'safetensors>=0.4',
        'torch>=2.8',
        'torch-geometric>=2.6',
        'tqdm',
        'vesin>=0.4',
    ],
    extras_require={
        'accel': ['torch-scatter', 'torch-cluster'],
        'train': train,
        'openmm': openmm,
        'qm9': qm9,
        'test': test,
        'check': check,
        'docs': docs,
        'dev': [*test, *check, *docs, 'pre-commit>=3.5'],
    },
    entry_points={'console_scripts': ['torch-sake = torch_sake.cli:main']},
)

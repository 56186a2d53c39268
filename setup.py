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
    'hypothesis>=6.80',
    'pytest>=7.4',
    'pytest-xdist>=3.5',
    'rdkit',  # by which PyG reads QM9, to compare
    'tensorboard>=2.14',
    'triton>=3.0; platform_system == "Linux"',  # comes with torch for CUDA
]
docs = [
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
    keywords=[
        'equivariance', 'graph-neural-networks', 'interatomic-potential',
        'molecular-dynamics', 'pytorch-geometric'
    ],
    python_requires='>=3.10',
    packages=find_packages(include=['torch_sake', 'torch_sake.*']),
    install_requires=[
        'filelock',  # comes with torch
        'numpy',
        'safetensors>=0.4',
        'torch>=2.4',
        'torch-geometric>=2.6',
        'tqdm',
        'vesin>=0.4',
    ],
    extras_require={
        'accel': ['torch-scatter', 'torch-cluster'],
        'train': train,
        'openmm': openmm,
        'qm9': qm9,
        'test': train + openmm + qm9 + test,
        'docs': train + openmm + docs,
    },
    entry_points={'console_scripts': ['torch-sake = torch_sake.cli:main']},
)

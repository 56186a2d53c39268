"""Models of other packages, to be trained beside ours on equal terms.

Sizes, radius, batch size and learning rate are each peer's own, for MD17 where
it states them; loss, schedule and averaging of weights are the trainer's.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from torch_sake.benchmark.peer_models import (
    EGNNEnergy,
    MACEEnergy,
    NequIPEnergy,
    PaiNNEnergy,
    PeerInputs,
    build_et,
    build_schnet,
    build_tensornet,
    build_visnet,
)


@dataclass(frozen=True)
class Peer:
    """A model of another package.

    Args:
        build: Returns the model for its inputs, in torch's default type.
        module: Name under which the package is imported.
        packages: Names of the packages whose versions matter.
        install: What installs it, after torch and torch_sake.
        settings: Where its settings differ from those of TrainConfig.
    """
    build: Callable[[PeerInputs], torch.nn.Module]
    module: str
    packages: tuple[str, ...]
    install: str
    settings: dict[str, Any]

    @property
    def is_installed(self) -> bool:
        """Whether the package can be imported, and all have versions: a folder
        of its name on the path is no package.
        """
        try:
            return importlib.util.find_spec(self.module) is not None and all(
                map(version, self.packages))
        except PackageNotFoundError:
            return False


PYG = ('torch_geometric', ('torch_geometric',), 'pip install torch_geometric')
# Without its dependencies: an old sympy among them asks for another torch.
SCHNETPACK = ('schnetpack', ('schnetpack',), (
    'pip install --no-deps schnetpack==2.1.1 && pip install dirsync '
    'fasteners h5py hydra-colorlog hydra-core matscipy "pytorch-lightning'
    '!=2.6.2,!=2.6.3" rich tensorboard tensorboardX torch-ema torchmetrics'))
TORCHMD = ('torchmdnet', ('torchmd-net',), 'pip install torchmd-net==3.1.0')
NEQUIP = ('nequip', ('nequip', 'e3nn'), 'pip install nequip==0.19.1')
EGNN_CLEAN = ('egnn_clean', (), (
    'clone vgsatorras/egnn from GitHub and put its folder models/egnn_clean '
    'on PYTHONPATH'))
MACE_TORCH = ('mace', ('mace-torch', 'e3nn'), 'pip install mace-torch==0.3.16')

PEERS = {
    # Size: defaults of PyG, but with the radius and the rate of schnetpack's
    # configuration for MD17 (experiment/md17.yaml).
    'SchNet': Peer(build_schnet, *PYG, {
        'cutoff': 5.0, 'batch_size': 8, 'learning_rate': 1e-3}),
    # Size and radius: defaults of PyG (the authors' model for MD17, with
    # 9 layers of 256 channels and lmax 2, is several times as large). Batch
    # and rate: the authors' examples/ViSNet-MD17.yml.
    'ViSNet': Peer(build_visnet, *PYG, {
        'cutoff': 5.0, 'batch_size': 4, 'learning_rate': 4e-4}),
    # schnetpack's configuration: experiment/md17.yaml, data/md17.yaml and
    # model/representation/painn.yaml.
    'PaiNN': Peer(lambda inputs: PaiNNEnergy(inputs.cutoff), *SCHNETPACK, {
        'cutoff': 5.0, 'batch_size': 10, 'learning_rate': 1e-3}),
    # examples/TensorNet-rMD17.yaml of torchmd-net.
    'TensorNet': Peer(build_tensornet, *TORCHMD, {
        'cutoff': 4.5, 'batch_size': 8, 'learning_rate': 1e-3}),
    # examples/ET-MD17.yaml of torchmd-net.
    'ET': Peer(build_et, *TORCHMD, {
        'cutoff': 5.0, 'batch_size': 8, 'learning_rate': 1e-3}),
    # configs/tutorial.yaml of nequip, without its pair potential.
    'NequIP': Peer(lambda inputs: NequIPEnergy(inputs, 1), *NEQUIP, {
        'cutoff': 5.0, 'batch_size': 5, 'learning_rate': 1e-2}),
    'NequIP-l2': Peer(lambda inputs: NequIPEnergy(inputs, 2), *NEQUIP, {
        'cutoff': 5.0, 'batch_size': 5, 'learning_rate': 1e-2}),
    # main_qm9.py of the authors: all pairs; batches for MD17 are ours.
    'EGNN': Peer(EGNNEnergy, *EGNN_CLEAN, {
        'cutoff': None, 'batch_size': 8, 'learning_rate': 1e-3}),
    # Size, radius and rate: defaults of mace_run_train with the given
    # features. Batch: the MACE paper, for rMD17.
    'MACE-64x0e': Peer(
        lambda inputs: MACEEnergy(inputs, '64x0e'), *MACE_TORCH,
        {'cutoff': 5.0, 'batch_size': 5, 'learning_rate': 1e-2}),
    'MACE-128x0e+128x1o': Peer(
        lambda inputs: MACEEnergy(inputs, '128x0e+128x1o'), *MACE_TORCH,
        {'cutoff': 5.0, 'batch_size': 5, 'learning_rate': 1e-2}),
}


def peer_versions(name: str) -> dict[str, str]:
    """Returns the versions of the packages behind a peer.

    Raises:
        ImportError: If the peer is not installed.
    """
    peer = PEERS[name]
    if not peer.is_installed:
        raise ImportError(f"{name} needs {peer.module}, which is not "
                          f"installed: {peer.install}")
    return {package: version(package) for package in peer.packages}

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import yaml

from torch_sake.benchmark import official
from torch_sake.benchmark.peers import PEERS, PeerInputs, peer_versions
from torch_sake.benchmark.systems import System
from torch_sake.models.registry import MODELS as OWN
from torch_sake.neighbors import neighbor_list
from torch_sake.potentials.potential import Potential

Calls = dict[str, Callable[[], Any]]


class Case(NamedTuple):
    r"""A model, as it is or compiled, that is measured."""
    label: str
    potential: Potential
    cutoff: float | None
    versions: dict[str, str]

    @property
    def compiled(self) -> bool:
        r"""Whether the model is compiled, and still so after its first call.
        """
        return self.potential.compiled

    def calls(self, system: System, tasks: list[str]) -> Calls:
        r"""Returns a function for each task that can be done, and one for the
        neighbor list.
        """
        calls: Calls = {'neighbors': lambda: neighbor_list(
            system.pos, self.cutoff, system.batch, system.cell)}
        if 'inference' in tasks:
            calls['inference'] = torch.no_grad()(
                lambda: self.potential(*system.inputs))
        if 'training' in tasks:
            calls['training'] = self._training_step(system)
        if 'md' in tasks and system.batch_size == 1:
            calls['md'] = self._md_step(system)
        return calls

    def _training_step(self, system: System) -> Callable[[], Any]:
        potential = copy.deepcopy(self.potential)
        optimizer = torch.optim.Adam(potential.parameters(), 1e-6, fused=True)

        def train() -> None:
            energy, forces, _ = potential(*system.inputs)
            optimizer.zero_grad()
            (energy.mean() + forces.square().mean()).backward()
            optimizer.step()

        return train

    def _md_step(self, system: System) -> Callable[[], Any]:
        from ase import Atoms
        from ase.md.langevinbaoab import LangevinBAOAB
        from ase.units import fs

        from torch_sake.calculators import SAKECalculator
        periodic = {} if system.cell is None else {
            'cell': system.cell.cpu().numpy(), 'pbc': True}
        atoms = Atoms(system.z.cpu().numpy(), system.pos.cpu().numpy(),
                      **periodic)
        atoms.calc = SAKECalculator(self.potential)
        # Random parameters would blow the atoms apart: time almost stands.
        dynamics = LangevinBAOAB(atoms, 1e-3 * fs)
        return lambda: dynamics.run(1)


AnyCase = Case | official.OfficialCase


def build_cases(entry: str, compiled: bool, device: torch.device,
                dtype: torch.dtype) -> list[AnyCase]:
    r"""Returns the cases of a model: as it is and, if asked for and possible,
    compiled.

    Args:
        entry (str): The name of a model of this package, with arguments that
            differ from its defaults, such as :obj:`"SAKE,cutoff=null"`, or the
            name of another package's model. The argument :obj:`recompute` is
            that of :class:`~torch_sake.Potential`.
        compiled (bool): Whether there is to be a compiled one.
        device (torch.device): Where the model is.
        dtype (torch.dtype): The type of its parameters.

    Raises:
        ValueError: If there is no model of this name.
        ImportError: If its package is not installed.
    """
    if entry == official.NAME:
        return [official.OfficialCase()]
    name, *changes = entry.split(',')
    torch.manual_seed(0)
    if name in PEERS and not changes:
        versions = peer_versions(name)
        cutoff = PEERS[name].settings['cutoff']
        model = PEERS[name].build(PeerInputs(cutoff, [1, 6, 8], 20.0))
        potential = Potential(model).to(device, dtype)
        return [Case(name, potential, cutoff, versions)]
    if name not in OWN:
        names = sorted([*OWN, *PEERS, official.NAME])
        raise ValueError(f"'models' must be of {names}, with changes for "
                         f"{sorted(OWN)} only (got {entry!r})")
    arguments = {key: yaml.safe_load(value) for key, value in
                 (change.split('=', 1) for change in changes)}
    recompute = arguments.pop('recompute', False)
    model = OWN[name](**arguments)
    potential = Potential(model, recompute=recompute).to(device, dtype)
    cases = [Case(entry, potential, model.cutoff, {})]
    if compiled:
        potential = copy.deepcopy(potential)
        potential.compile()
        cases.append(Case(f'{entry}, compiled', potential, model.cutoff, {}))
    return cases


def installed_models() -> list[str]:
    r"""Returns this package's models and all others that are installed."""
    names = ['VectorSAKE', 'SAKE', 'SAKE,cutoff=null']
    if official.is_installed():
        names.append(official.NAME)
    return names + [name for name, peer in PEERS.items() if peer.is_installed]

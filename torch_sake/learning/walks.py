r"""Simulations that end where the potential is unsure."""

import os.path as osp
from dataclasses import asdict, dataclass

import numpy

from torch_sake.learning.config import LearnConfig
from torch_sake.learning.files import read_json
from torch_sake.simulation.config import MDConfig
from torch_sake.simulation.molecular_dynamics import (
    Simulation,
    SimulationStopped,
)
from torch_sake.simulation.report import MAX_TEMPERATURE, UNCERTAINTY
from torch_sake.simulation.restart import RESTART
from torch_sake.utils.files import write_json
from torch_sake.utils.hints import check_entry

OUTCOME = 'outcome.json'


@dataclass(frozen=True)
class Walk:
    r"""A simulation: the number of its structure, the temperature in K, its
    number among those of both, its folder and its seed.
    """
    structure: int
    temperature: float
    walker: int
    folder: str
    seed: int


@dataclass(frozen=True)
class Outcome:
    r"""What came of a simulation: its last step that can be trusted and the
    number of frames up to there, the time in ps, and the reason for which it
    ended, or :obj:`None` if it went on to its end without doubt.
    """
    step: int
    num_frames: int
    time: float
    reason: str | None

    @classmethod
    def read(cls, folder: str) -> 'Outcome | None':
        r"""Returns that of a simulation that is over."""
        found = read_json(osp.join(folder, OUTCOME))
        if found is None:
            return None
        return cls(**{name: check_entry(name, found.get(name), hint)
                      for name, hint in cls.__annotations__.items()})


def walks_of(config: LearnConfig, number: int, folder: str,
             num_structures: int) -> list[Walk]:
    r"""Returns the simulations of a round."""
    walks = []
    for structure in range(num_structures):
        for place, temperature in enumerate(config.temperatures):
            for walker in range(config.num_walkers):
                name = f'{structure}_{temperature:.10g}K_{walker}'
                walks.append(Walk(
                    structure, temperature, walker, osp.join(folder, name),
                    seed_of(config.seed, number, structure, place, walker)))
    return walks


def seed_of(*numbers: int) -> int:
    r"""Returns a seed of its own for some numbers."""
    state = numpy.random.SeedSequence(numbers).generate_state(1)
    return int(state[0])


def walk(config: LearnConfig, one: Walk, starts: str, checkpoints: list[str],
         max_force_std: float) -> Outcome:
    r"""Simulates, or goes on, until the potential is unsure, the structure is
    none any more, or the time is over.

    Args:
        config (LearnConfig): The loop.
        one (Walk): The simulation.
        starts (str): The file of the structures.
        checkpoints ([str]): The potential, or those of an ensemble.
        max_force_std (float): The largest uncertainty in eV/Angstrom.
    """
    found = Outcome.read(one.folder)
    if found is not None:
        return found
    resume = osp.exists(osp.join(one.folder, RESTART))
    simulation = Simulation(MDConfig(
        checkpoint=checkpoints, structure=f'{starts}@{one.structure}',
        out=one.folder, resume=resume, num_steps=config.num_md_steps,
        timestep=config.timestep, temperature=one.temperature,
        friction=config.friction, interval=config.interval,
        max_force_std=max_force_std, seed=one.seed, device=config.device,
        compile=bool(config.compile)))
    stopped = None
    # One that was killed after its last step must not make another one:
    if not (resume and is_unsure(simulation, max_force_std)):
        try:
            simulation.run()
        except SimulationStopped as error:
            stopped = str(error)
    outcome = judge(simulation, max_force_std, stopped)
    write_json(osp.join(one.folder, OUTCOME), asdict(outcome))
    return outcome


def is_unsure(simulation: Simulation, max_force_std: float) -> bool:
    r"""Whether the last frame of a simulation is where it was to stop."""
    if simulation.records.num_frames == 0:
        return False
    return is_above(simulation.records.rows()[UNCERTAINTY][-1], max_force_std)


def is_above(uncertainty: float, max_force_std: float) -> bool:
    r"""Whether an uncertainty is too large, or is none."""
    return not uncertainty <= max_force_std


def judge(simulation: Simulation, max_force_std: float,
          stopped: str | None) -> Outcome:
    r"""Returns what came of a simulation that is over.

    Args:
        simulation (Simulation): The simulation.
        max_force_std (float): The largest uncertainty in eV/Angstrom.
        stopped (str or None): Why it could not go on, if so.
    """
    rows = simulation.records.rows()
    last = len(rows['step']) - 1
    fault = first_fault(simulation, rows)
    if fault is not None:
        last, reason = fault[0], f'unsound: {fault[1]}'
    elif is_above(rows[UNCERTAINTY][-1], max_force_std):
        reason = (f'unsure: {rows[UNCERTAINTY][-1]:.4g} eV/Angstrom, above '
                  f'{max_force_std:.4g}')
    elif stopped is not None:
        reason = f'stopped: {stopped}'
    else:
        reason = None
    step = int(rows['step'][last]) if reason else simulation.step
    return Outcome(step, last + 1, step * simulation.config.timestep / 1000,
                   reason)


def first_fault(simulation: Simulation,
                rows: dict[str, list[float]]) -> tuple[int, str] | None:
    r"""Returns the first frame that is no structure any more, and why."""
    import ase.io
    frames = ase.io.iread(simulation.records.trajectory, ':')
    for number, (atoms, temperature) in enumerate(zip(
            frames, rows['temperature [K]'])):
        faults = simulation.soundness.faults(atoms)
        if temperature > MAX_TEMPERATURE:
            faults.append(f'The temperature is {temperature:.0f} K')
        if faults:
            return number, faults[0]
    return None

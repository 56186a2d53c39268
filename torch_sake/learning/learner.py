import json
import os.path as osp
import shutil
from dataclasses import asdict
from typing import Any

from torch_sake.datasets.frames.ase_structures import ase_structures
from torch_sake.learning.beginning import begin
from torch_sake.learning.config import LearnConfig
from torch_sake.learning.distances import num_edges
from torch_sake.learning.files import (
    LABELED,
    STARTS,
    STATE,
    TABLE,
    TO_LABEL,
    once,
    read_json,
)
from torch_sake.learning.first import compare_methods, limit_of, train_first
from torch_sake.learning.log import (
    DOUBTS,
    NUM_LABELS,
    NUM_NEW,
    ROUND,
    WALKS,
    write_log,
)
from torch_sake.learning.rounds import HOLDS, OVER, STUCK, WAITS, Round
from torch_sake.potentials.load import load_potential
from torch_sake.simulation.structures import write_structure
from torch_sake.utils.device import choose_device
from torch_sake.utils.files import (
    remove_incomplete,
    replace_when_complete,
    write_settings,
)
from torch_sake.utils.hints import check_entry
from torch_sake.utils.inputs import BEST, find_checkpoint
from torch_sake.utils.locks import hold_folder
from torch_sake.utils.messages import errors_name
from torch_sake.utils.plain_checks import require

# Settings that may change when a loop goes on. What is in files is compared
# by itself.
FREE = {'out', 'data', 'root', 'init', 'structures', 'num_rounds',
        'num_processes', 'device', 'compile'}
CONFIG = 'config.yaml'


def counted(number: int, what: str) -> str:
    r"""Returns a number of things in words."""
    return f"{number} {what}{'' if number == 1 else 's'}"


class Learner:
    r"""Active learning: a potential is simulated from each structure at each
    temperature until it is unsure, the structures of these doubts are labeled,
    it is trained on them, and again, until a round of simulations ends without
    doubt.

    The folder :obj:`config.out` gets the potential (:obj:`best.safetensors`,
    or those of an ensemble in :obj:`member_0` and so on), a table
    (:obj:`learn.csv`) and a picture (:obj:`learn.png`) of all rounds, and a
    folder for each. A loop that was stopped, at any point, goes on as if it
    had not been: by the same settings.

    .. code-block:: python

        learner = Learner(LearnConfig(
            structures='molecule.xyz', label='xtb', data='labeled.extxyz'))
        learner.run()  # 'holds'
        learner.checkpoints  # ['runs/learn/best.safetensors']

    Args:
        config (LearnConfig): What the loop is made of.

    Raises:
        ImportError: If what labels is not installed.
        ValueError: If a file cannot be used, a structure cannot be labeled or
            has an element that nothing teaches, or the folder holds a loop of
            other settings.
    """
    def __init__(self, config: LearnConfig):
        self.config = config
        self.beginning = begin(config)
        self.device = choose_device(config.device)
        self.rows: list[dict[str, Any]] = []
        self.folder = config.out  # of the last round
        self._check_state(read_json(osp.join(config.out, STATE)))

    @property
    def checkpoints(self) -> list[str]:
        r"""The files of the potential, or of the members of an ensemble."""
        if self.config.size == 1:
            return [osp.join(self.config.out, BEST)]
        return [osp.join(self.config.out, f'member_{member}', BEST)
                for member in range(self.config.size)]

    @property
    def edges_per_step(self) -> float:
        r"""How many edges a step of a training has, about."""
        cutoff = self.config.cutoff
        if self.config.init:
            cutoff = load_potential(self.config.init[0]).cutoff
        number = sum(num_edges(atoms, cutoff)
                     for atoms in self.beginning.starts)
        return self.config.batch_size * number / len(self.beginning.starts)

    def describe(self) -> str:
        r"""Returns what is about to happen, in a line."""
        config, begin = self.config, self.beginning
        number = len(begin.starts)
        line = (f"{counted(number, 'structure')} at "
                f"{', '.join(f'{one:g}' for one in config.temperatures)} K, "
                f"{counted(config.num_walkers, 'simulation')} each; labels by "
                f"{config.label}")
        if begin.frames is None or begin.split is None:
            return line
        sizes = {name: len(part) for name, part in vars(begin.split).items()}
        return f'{line}; {begin.frames.source}: {sizes} frames' + (
            '' if begin.learns else " as in the run of 'init'")

    def describe_end(self, end: str) -> str:
        r"""Returns what has come of the loop, and what to do next.

        Args:
            end (str): What :meth:`run` returned.
        """
        config = self.config
        if end == WAITS:
            to_label = osp.join(self.folder, TO_LABEL)
            number = sum(1 for _ in ase_structures(to_label))
            return (f"'{to_label}' has {counted(number, 'structure')} to "
                    f"label: write "
                    f"them with energies and forces to "
                    f"'{osp.join(self.folder, LABELED)}.extxyz' and run the "
                    f"same command again")
        row = self.rows[-1]
        labels = (f"{counted(row[NUM_LABELS], 'label')} in "
                  f"{counted(row[ROUND], 'round')}")
        return {
            HOLDS: f"It holds: {counted(row[WALKS], 'simulation')} of "
                   f"{config.time:g} ps without doubt, after {labels}",
            OVER: f"All rounds are over, with {labels}: the last simulations "
                  f"had doubts ({row[DOUBTS]} of {row[WALKS]}). The same "
                  f"command with more 'num_rounds' goes on",
            STUCK: f'All that is doubtful is labeled already, or like it '
                   f'({row[DOUBTS]} of {row[WALKS]} simulations, {labels}): '
                   f"a larger 'max_force_std', a smaller 'min_distance' or "
                   f"more 'finetune_steps' may help, in another 'out'",
        }[end] + f". The potential is in {', '.join(self.checkpoints)}, " \
            f"the log in {osp.join(config.out, TABLE)}"

    def run(self) -> str:
        r"""Goes on until there is an end or something to wait for.

        Returns:
            :obj:`"holds"` if the last simulations ended without doubt,
            :obj:`"waits"` if structures are to be labeled by the user,
            :obj:`"over"` if there has been the largest number of rounds, and
            :obj:`"stuck"` if all that is doubtful is labeled already.

        Raises:
            KeyboardInterrupt: After an interruption. The loop can go on.
            ValueError: If no structure could be labeled, labels of the user
                cannot be used, or another process writes to the folder.
        """
        config = self.config
        with hold_folder(config.out):
            remove_incomplete(config.out)
            self._write_state()
            compare_methods(config, self.beginning)
            checkpoints = train_first(config, self.beginning)
            limit = limit_of(config, self.beginning, checkpoints)
            self.rows, end = [], OVER
            for number in range(1, config.num_rounds + 1):
                one = Round(config, self.beginning, number, checkpoints,
                            limit, sum(row[NUM_NEW] for row in self.rows))
                self.folder, is_new = one.folder, not one.is_over
                found = one.run()
                if one.row is not None:
                    self.rows.append(one.row)
                if is_new and self.rows:
                    write_log(config.out, self.rows)
                if found is not None:
                    end = found
                    break
                checkpoints = one.learned
                if is_new:
                    self._keep(checkpoints)
            if self.rows and not is_new:  # it may have ended before this
                write_log(config.out, self.rows)
            self._keep(checkpoints)
        return end

    def _check_state(self, found: dict[str, Any] | None) -> None:
        r"""Raises an error if a folder holds another loop."""
        if found is None:
            return
        out = self.config.out
        # Through JSON, as what is found came:
        settings, marks = json.loads(json.dumps(
            [asdict(self.config), self.beginning.marks]))
        with errors_name(osp.join(out, STATE)):
            before, known = (check_entry(name, found.get(name),
                                         dict[str, Any])
                             for name in ('settings', 'marks'))
        for key, value in settings.items():
            require(key in FREE or before.get(key, value) == value,
                    f"'{key}' must be {before.get(key)!r}, as before in the "
                    f"loop of '{out}', or 'out' another folder "
                    f"(got {value!r})")
        for key, value in marks.items():
            require(known.get(key) == value,
                    f"'{key}' must be what it was before in the loop of "
                    f"'{out}', or 'out' another folder (what is in "
                    f"{getattr(self.config, key)!r} now differs)")

    def _write_state(self) -> None:
        out = self.config.out
        self._check_state(once(osp.join(out, STATE), lambda: {
            'settings': asdict(self.config), 'marks': self.beginning.marks}))
        write_settings(osp.join(out, CONFIG), asdict(self.config))
        if not osp.exists(osp.join(out, STARTS)):
            write_structure(osp.join(out, STARTS), self.beginning.starts)

    def _keep(self, checkpoints: list[str]) -> None:
        r"""Copies the potential to where it is looked for."""
        for source, target in zip(checkpoints, self.checkpoints):
            with replace_when_complete(target) as temporary:
                shutil.copyfile(find_checkpoint(source), temporary)

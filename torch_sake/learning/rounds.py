import os
import os.path as osp
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import ase.io
import numpy
import torch

from torch_sake.datasets import read_frames
from torch_sake.datasets.frames.ase_structures import ase_structures
from torch_sake.datasets.frames.joined_frames import AnyFrames, join_frames
from torch_sake.datasets.frames.split import Split
from torch_sake.evaluation.predictions import Predictions
from torch_sake.inspection.look import look_at_own
from torch_sake.learning.beginning import Beginning
from torch_sake.learning.choice import choose
from torch_sake.learning.config import FILES, LearnConfig
from torch_sake.learning.distances import Shape, shape_of
from torch_sake.learning.files import (
    LEARNED,
    STARTS,
    TO_LABEL,
    find_labeled,
    once,
    read_json,
    round_folder,
)
from torch_sake.learning.first import runs_of, train_members
from torch_sake.learning.labels import (
    check_exchanged,
    compute_labels,
    read_labels,
)
from torch_sake.learning.log import SECONDS, in_words, row_of
from torch_sake.learning.training import (
    errors_of,
    predictions,
    warn_of_another_zero,
)
from torch_sake.learning.walks import Outcome, seed_of, walk, walks_of
from torch_sake.utils.files import (
    remove_incomplete,
    replace_when_complete,
    write_json,
)
from torch_sake.utils.plain_checks import require
from torch_sake.utils.units import check_units

HOLDS, WAITS, OVER, STUCK = 'holds', 'waits', 'over', 'stuck'
WALKS, ERRORS, DONE = 'walks.json', 'errors.json', 'round.json'
VALIDATION = 1 << 22  # of seeds, beside those of simulations and trainings
Errors = dict[str, float | None]


class Round:
    r"""A round: simulations until there is doubt, labels, training. Each part
    is done once; a round that was stopped goes on with what is missing.

    Args:
        config (LearnConfig): The loop.
        begin (Beginning): What it began with.
        number (int): The number of the round, from 1 on.
        checkpoints ([str]): The potential that it begins with.
        limit (float): The uncertainty at which simulations stop.
        num_labels (int): The number of labels of the rounds before.
    """
    def __init__(self, config: LearnConfig, begin: Beginning, number: int,
                 checkpoints: list[str], limit: float, num_labels: int):
        self.config, self.begin, self.number = config, begin, number
        self.checkpoints, self.limit = checkpoints, limit
        self.num_labels = num_labels
        self.folder = round_folder(config.out, number)
        self.row: dict[str, Any] | None = None
        self.learned = checkpoints

    @property
    def is_over(self) -> bool:
        r"""Whether all of it is done."""
        return osp.exists(self._path('round.json'))

    def run(self) -> str | None:
        r"""Does what is missing. Returns why the loop ends with this round,
        or :obj:`None` if it does not.
        """
        if not self.is_over:
            os.makedirs(self.folder, exist_ok=True)
            remove_incomplete(self.folder)
            outcomes, seconds = self._simulate()
            asked = self._choose(outcomes)
            learned = self._label(asked)
            if learned is None:
                return WAITS
            row = row_of(self.number, self.limit, outcomes, learned['number'],
                         self.num_labels, learned['val'], learned['new'])
            if asked:
                print(in_words(row))
            seconds += learned['seconds'] + self._train(bool(asked))
            end = None if asked else STUCK if any(
                one.reason for one in outcomes) else HOLDS
            write_json(self._path(DONE), {
                'row': {**row, SECONDS: round(seconds, 1)},
                'end': end})
        found = once(self._path(DONE), dict)
        self.row = found['row']
        if found['end'] is None:
            self.learned = self._runs()
        return found['end']

    @property
    def _refits(self) -> bool:
        r"""Whether its training shifts atomic energies to those of frames."""
        return (self.config.refit and self.number == 1
                and not self.begin.learns)

    def _path(self, name: str) -> str:
        return osp.join(self.folder, name)

    def _simulate(self) -> tuple[list[Outcome], float]:
        r"""Returns what came of the simulations, and how long they took."""
        config, starts = self.config, osp.join(self.config.out, STARTS)

        def simulate() -> dict[str, Any]:
            began, outcomes = time.monotonic(), []
            print(f'Round {self.number}: {len(self._walks())} simulations of '
                  f'{config.time:g} ps, up to an uncertainty of a force of '
                  f'{self.limit:.4g} eV/Angstrom')
            for one in self._walks():
                outcome = walk(config, one, starts, self.checkpoints,
                               self.limit)
                outcomes.append(asdict(outcome))
                print(f'  structure {one.structure} at {one.temperature:g} K: '
                      f'{outcome.time:g} ps' + (
                          f', {outcome.reason}' if outcome.reason else ''))
            return {'outcomes': outcomes,
                    'seconds': time.monotonic() - began}
        found = once(self._path(WALKS), simulate)
        return [Outcome(**one) for one in found['outcomes']], found['seconds']

    def _walks(self) -> list[Any]:
        return walks_of(self.config, self.number, self._path('walks'),
                        len(self.begin.starts))

    def _choose(self, outcomes: Sequence[Outcome]) -> list[Any]:
        r"""Returns the structures to label, which are in a file then."""
        path = self._path(TO_LABEL)
        if not osp.exists(path):
            chosen = choose(self.config, self.number, self._walks(), outcomes,
                            self._known())
            if not chosen:
                return []
            with replace_when_complete(path) as temporary:
                ase.io.write(temporary, chosen, format='extxyz')
        return list(ase_structures(path))

    def _known(self) -> list[Shape]:
        r"""Returns the structures of all rounds before."""
        return [shape_of(atoms) for number in range(1, self.number)
                for atoms in ase_structures(osp.join(
                    round_folder(self.config.out, number), TO_LABEL))]

    def _label(self, asked: Sequence[Any]) -> dict[str, Any] | None:
        r"""Returns the number of new frames, which are in a file then, the
        errors of the potential on validation frames and on these, and how long
        it took; :obj:`None` if the user is to label them.
        """
        found, began = read_json(self._path(ERRORS)), time.monotonic()
        if found is not None:
            return found
        new: Errors | None = None
        number = 0
        if asked:
            if not osp.exists(self._path(LEARNED)) and not self._write(asked):
                return None
            frames = self._frames(self.number)
            number = len(frames)
            outputs = self._predict(frames)
            new = errors_of(outputs, self.begin.units)
            if self.config.label == FILES:
                if not self._refits:
                    warn_of_another_zero(
                        find_labeled(self.folder) or frames.source, outputs,
                        self.checkpoints[0], self.begin.units)
                for remark in look_at_own(frames, None):
                    print(*remark.lines(frames, dropped=True), sep='\n')
        val = self._validation()
        write_json(self._path(ERRORS), {
            'number': number, 'new': new,
            'val': None if val is None else self._errors(val),
            'seconds': time.monotonic() - began})
        return read_json(self._path(ERRORS))

    def _write(self, asked: Sequence[Any]) -> bool:
        r"""Writes the new frames, if there are labels for them."""
        config = self.config
        if config.label == FILES:
            labeled = read_labels(config, self.folder, asked)
            if labeled is None:
                return False
        else:
            labeled = compute_labels(config, self._path('labels'), asked)
        path = self._path(LEARNED)
        with replace_when_complete(path) as temporary:
            ase.io.write(temporary, labeled, format='extxyz')
            if config.label == FILES:
                self._check_exchanged(labeled, temporary)
        return True

    def _check_exchanged(self, labeled: list[Any], path: str) -> None:
        outputs = self._predict(read_frames(path))
        length, energy = check_units(self.begin.units)
        forces = outputs['force'].value * energy / length
        check_exchanged(find_labeled(self.folder) or path, labeled,
                        forces.split(outputs.num_atoms.tolist()))

    def _predict(self, frames: AnyFrames) -> Predictions:
        return predictions(self.checkpoints, frames.in_units(
            self.begin.units), self.config.device)

    def _errors(self, frames: AnyFrames) -> Errors:
        return errors_of(self._predict(frames), self.begin.units)

    def _frames(self, number: int) -> AnyFrames:
        r"""Returns the new frames of a round."""
        frames = read_frames(osp.join(round_folder(self.config.out, number),
                                      LEARNED))
        return frames.in_units(self.begin.units)

    def _validation(self) -> AnyFrames | None:
        r"""Returns the frames that the potential was validated on: those of
        'data', or else those of the rounds before.
        """
        if self.begin.frames is not None:
            assert self.begin.split is not None
            return self.begin.frames[self.begin.split.val]
        if self.number == 1:
            return None
        frames, split = self._data(self.number - 1)
        return frames[split.val]

    def _data(self, last: int) -> tuple[AnyFrames, Split]:
        r"""Returns all frames up to those of a round, and their split."""
        parts, train, val = [], [], []
        if self.begin.frames is not None and self.begin.split is not None:
            parts.append(self.begin.frames)
            train.append(self.begin.split.train)
            val.append(self.begin.split.val)
        for number in range(1, last + 1):
            first = sum(map(len, parts))
            parts.append(self._frames(number))
            order = torch.from_numpy(numpy.random.default_rng(seed_of(
                self.config.seed, number, VALIDATION)).permutation(
                    len(parts[-1]))) + first
            num_val = round(self.config.val_fraction * len(order))
            if not val:
                num_val = max(num_val, 1)
                require(len(order) > num_val,
                        f"'num_labels' must be such that frames of the first "
                        f"round are left to learn from, without 'data' (got "
                        f"{len(order)} labeled structures, of which {num_val} "
                        f"are for validation)")
            train.append(order[num_val:])
            val.append(order[:num_val])
        return join_frames(parts), Split(
            train=torch.cat(train), val=torch.cat(val),
            test=train[0][:0])

    def _runs(self) -> list[str]:
        r"""Returns the folders of the trainings."""
        return runs_of(self.config, self.folder)

    def _train(self, learns: bool) -> float:
        r"""Trains on all frames so far and returns how long it took."""
        began = time.monotonic()
        if learns:
            config = self.config
            frames, split = self._data(self.number)
            train_members(config, self.folder, frames, split,
                          self.checkpoints, self.number, {
                              'num_steps': config.finetune_steps,
                              'learning_rate': config.finetune_learning_rate,
                              'refit': self._refits})
        return time.monotonic() - began

from torch_sake.evaluation.frame_texts import frame_texts
from torch_sake.evaluation.metrics import predict, trivial_labels
from torch_sake.evaluation.plots import plot_learning_curve
from torch_sake.evaluation.report import report_errors
from torch_sake.inspection.remark import (
    by_source,
    name_frames,
    outliers_of,
)
from torch_sake.potentials.load import load_predictor
from torch_sake.sampling.calculator import title_of
from torch_sake.training.data_plot import plot_data
from torch_sake.training.isolated import marked_isolated
from torch_sake.training.trainer import Trainer
from torch_sake.utils.elements import symbol_of
from torch_sake.utils.global_state import (
    own_global_state,
    use_deterministic_algorithms,
)
from torch_sake.utils.locks import hold_folder
from torch_sake.utils.names import is_import_path


def describe_references(trainer: Trainer) -> str | None:
    r"""Returns what there is to say of the energies of the elements, in one
    line.
    """
    data, config = trainer.data, trainer.config
    if config.atomic_energies != 'fit':
        numbers = data.isolated_atoms
        energies = data.atomic_energies[numbers].tolist()
        return (f"Isolated atoms have the energies "
                f"{', '.join(map(_energy_of, numbers, energies))} "
                f"[{data.frames.units['energy']}]")
    if config.pretrain is not None:
        return ("The energies of the elements are those of 'pretrain', "
                "shifted to fit the training frames: 'atomic_energies' would "
                "give those of isolated atoms")
    if data.frames.label != 'energy' or config.init is not None or not (
            data.undetermined and data.is_of_one_composition):
        return None
    from ase.formula import Formula
    atoms = data.frames[int(data.split.train[0])].z.tolist()
    formula = Formula.from_list(
        [symbol_of(number) for number in atoms]).format('hill')
    return (f"All training frames are {formula}, which determines no energy "
            f"of an element: energies of fragments mean nothing without "
            f"'atomic_energies'")


def _energy_of(number: int, energy: float) -> str:
    return f'{symbol_of(number)} {energy:.10g}'


def report_data(trainer: Trainer) -> None:
    r"""Prints what is likely wrong with the data of a run, and draws them."""
    config, data = trainer.config, trainer.data
    outliers = outliers_of(data.remarks)
    for remark in data.remarks:
        for line in remark.lines(data.frames, config.drop_outliers):
            print(line)
    if config.atomic_energies == 'fit':
        marked = marked_isolated(data.frames)
        if marked:
            print(f"{data.frames.where(marked[0])}: {len(marked)} frames are "
                  f"isolated atoms, as 'config_type' says, and are used as "
                  f"all others: '--atomic_energies isolated' takes their "
                  f"energies for those of the elements")
    if config.drop_outliers:
        names = [f'{source}, {name_frames(numbers)}' for source, numbers in
                 by_source(outliers, data.frames).items()]
        which = f' ({"; ".join(names)})' if names else ''
        print(f"'drop_outliers': {len(outliers)} of {len(data.frames)} frames "
              f"are left out of the split{which}")
    with hold_folder(config.out):
        plot_data(data.frames, config.out)


@own_global_state()
def report_run(trainer: Trainer) -> None:
    r"""Prints and writes the errors of the best potential of a run on its test
    frames, or else on those for validation, and draws the learning curve.
    """
    config, data = trainer.config, trainer.data
    if config.deterministic:
        use_deterministic_algorithms()
    units = data.frames.units
    plot_learning_curve(trainer.history, units, config.out)
    part = 'test' if data.split.test.numel() > 0 else 'val'
    own = config.model if is_import_path(config.model) else None
    potential = load_predictor(config.out, model=own)[0]
    if part == 'val':  # on which its uncertainties are right by construction
        potential.rigidity = None
    trivial = trivial_labels(potential, data.batches(part))
    outputs = predict(potential.to(trainer.device), data.batches(part),
                      trainer.device)
    report_errors(outputs, trivial, units, config.out, part,
                  f'\nErrors on the {part} frames '
                  f'({getattr(data.split, part).numel()}; '
                  f'{trainer.seconds:.0f} s of processor time for training'
                  f'{after_pretraining(trainer)})',
                  texts=frame_texts(data.frames[getattr(data.split, part)]))


def after_pretraining(trainer: Trainer) -> str:
    about = trainer.module.description.get('pretraining')
    return '' if about is None else (
        f", after {about['num_frames']} frames of "
        f"{title_of(about['calculator'])}")

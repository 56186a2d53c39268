from torch_sake.cli.configs import ConvertConfig
from torch_sake.datasets import convert_frames
from torch_sake.datasets.frames.config import label_options
from torch_sake.evaluation.report import describe_labels
from torch_sake.inspection.look import look_at


def convert(config: ConvertConfig) -> None:
    r"""Converts labeled structures to a file that training reads frame by
    frame.
    """
    frames = convert_frames(config.data, config.out, config.energy_unit,
                            **label_options(vars(config)))
    print(f'{config.out}: {len(frames)} frames of up to '
          f'{int(frames.num_atoms.max())} atoms, of atomic numbers '
          f'{frames.elements}, with {describe_labels(frames)} '
          f"({frames.units['energy']}, {frames.units['length']})")
    for remark in look_at(frames):
        print(remark.line(config.out, dropped=True))

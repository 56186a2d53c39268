from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from torch_sake.utils.hints import PositiveFloat, PositiveInt
from torch_sake.utils.names import check_calculator_name, is_import_path
from torch_sake.utils.plain_checks import require

LEARNING_RATE, LEARNING_RATE_AFTER = 3e-3, 3e-4
# Frames of a step, at least:
BATCH_SIZE = 8
# Settings that need 'pretrain', and what they are if not given:
DEFAULTS = {'pretrain_frames': 4000, 'pretrain_steps': 6000,
            'pretrain_learning_rate': LEARNING_RATE}


@dataclass(kw_only=True)
class PretrainConfig:
    r"""What a run learns before its data.

    Args:
        pretrain: What labels structures beyond the data, which the model
            learns first: 'xtb' (GFN2-xTB), or an ASE calculator by its import
            path, 'my_package.my_module:MyCalculator'. They are grown from the
            training frames, whose labels are not used for that: hot dynamics,
            turned, stretched and pressed bonds, pieces, pairs of molecules and
            isolated atoms. This is a run of its own, in the folder 'pretrain'
            of 'out', from whose potential the data are then learned.
        pretrain_frames: About how many such frames; 4000 if not given.
        pretrain_steps: Number of steps on them, of 'batch_size' frames, but of
            8 at least; 6000 if not given. With 'max_time' it is half of that
            time, and labels do not count.
        pretrain_learning_rate: Largest learning rate of these steps; 3e-3 if
            not given.
    """
    if TYPE_CHECKING:  # of the run
        init: str | None
        freeze: int | None
        refit: bool
        model: str
        learning_rate: float | None
        devices: int
        num_nodes: int
        num_steps: int | None
        max_time: str | None
    pretrain: Annotated[str, check_calculator_name] | None = None
    pretrain_frames: PositiveInt | None = None
    pretrain_steps: PositiveInt | None = None
    pretrain_learning_rate: PositiveFloat | None = None

    def settle_pretraining(self) -> None:
        r"""Fills in what is not given.

        Raises:
            ValueError: If settings contradict each other.
        """
        require(self.init or not (self.freeze is not None or self.refit) or (
            self.pretrain and not self.refit),
                f"'freeze' and 'refit' need 'init' "
                f"(got {self.freeze} and {self.refit})")
        if self.learning_rate is None:
            self.learning_rate = (LEARNING_RATE_AFTER if self.pretrain else
                                  LEARNING_RATE)
        for name, default in DEFAULTS.items():
            value = getattr(self, name)
            require(self.pretrain or value is None,
                    f"'{name}' needs 'pretrain' (got {value})")
            if name == 'pretrain_steps' and self.max_time is not None:
                require(value is None,
                        f"'{name}' must not be given beside 'max_time', half "
                        f"of which is for 'pretrain' (got {value})")
            elif self.pretrain and value is None and (
                    name != 'pretrain_steps' or self.num_steps is not None):
                setattr(self, name, default)  # else the length is yet to come
        if self.pretrain is None:
            return
        require(self.init is None,
                f"'pretrain' must not be given beside 'init', which is "
                f"pretrained (got {self.pretrain!r} and {self.init!r})")
        require(not is_import_path(self.model),
                f"'pretrain' must not be given for a model of your own, "
                f"{self.model!r} (got {self.pretrain!r})")
        number = self.devices * self.num_nodes
        require(number == 1,
                f"'pretrain' needs one device: pretrain on one, and start the "
                f"run on {number} from that with 'init' "
                f"(got {self.pretrain!r})")

from dataclasses import dataclass, replace
from typing import Annotated, Any

from torch_sake.utils.hints import Path, PositiveInt, Sources, Texts
from torch_sake.utils.plain_checks import check_not_negative, require

# Numbers of training and validation frames of a random split. Those of QM9
# are the same for all targets and all seeds of runs.
SPLIT_SIZES = {'qm9': (110_000, 10_000)}
DEFAULT_SIZES = (950, 50)
# Settings that say which frames are for a part of the split:
GIVEN = {'val': ('val', 'val_config_type'),
         'test': ('test', 'test_config_type')}


def check_weights(name: str, value: dict[str, float]) -> dict[str, float]:
    for kind, weight in value.items():
        check_not_negative(f'{name}.{kind}', weight)
    return value


@dataclass(kw_only=True)
class PartsConfig:
    r"""Which frames a run is fitted to, validated and tested on, and how much
    they weigh.

    Args:
        split: An npz file with the frames 'train', 'val' and 'test', or the
            name of a split that the data are published with ('1' to '5' of
            'rmd17:NAME'; 'within' and 'other' of 'iso17'), in place of a
            random split.
        split_prefix: What these names start with in the file.
        num_train: Number of training frames of a random split; 950, or
            110,000 of QM9, if not given, and 80 % of the frames where there
            are not as many.
        num_val: Number of validation frames of a random split; 50, or 10,000
            of QM9, if not given, and 10 % of the frames where there are not
            as many.
        num_test: Number of test frames of a random split; all that are left
            if not given. Errors are reported on the validation frames if 0.
        val: File of the validation frames, or several, or other names as of
            'data'. Without 'num_train', all others of 'data' are for
            training.
        test: File of the test frames, in the same way.
        val_config_type: The frames of 'data' of these types, which are what
            they have as 'config_type', are the validation frames. Those
            without one are of type 'Default'.
        test_config_type: The frames of these types are the test frames.
        config_type_weights: Weights of the training frames by their type, 1
            if not given. A 'config_weight' of a frame multiplies it. In the
            loss they are divided by their mean; errors of validations and
            tests know no weights.
    """
    split: Path | None = None
    split_prefix: str = ''
    num_train: PositiveInt | None = None
    num_val: PositiveInt | None = None
    num_test: int | None = None
    val: Sources | None = None
    test: Sources | None = None
    val_config_type: Texts | None = None
    test_config_type: Texts | None = None
    config_type_weights: Annotated[dict[str, float],
                                   check_weights] | None = None

    def given_as(self, part: str) -> str | None:
        r"""Returns the setting that says which frames are validated or tested
        on, or :obj:`None` if they are drawn.
        """
        return next((name for name in GIVEN[part]
                     if getattr(self, name) is not None), None)

    @property
    def default_sizes(self) -> tuple[int, int]:
        r"""The numbers of training and validation frames, if there are as
        many.
        """
        kind = str(getattr(self, 'data', '')).partition(':')[0]
        return SPLIT_SIZES.get(kind, DEFAULT_SIZES)

    def settle_parts(self) -> None:
        r"""Fills in the numbers of frames that do not depend on the data.

        Raises:
            ValueError: If settings contradict each other.
        """
        for part, names in GIVEN.items():
            name = self.given_as(part)
            for other in (f'num_{part}', 'split', names[-1]):
                value = getattr(self, other)
                require(name in (None, other) or value is None,
                        f"'{other}' must not be given beside '{name}', which "
                        f"has the frames (got {value!r})")
        both = sorted({*(self.val_config_type or ())} &
                      {*(self.test_config_type or ())})
        require(not both, f"'val_config_type' and 'test_config_type' must "
                          f"have different types (got {both} twice)")
        require(self.split or not self.split_prefix,
                f"'split_prefix' needs 'split', the file that it is about "
                f"(got {self.split_prefix!r})")
        # Those that nothing follows from, and those that are published:
        sizes = DEFAULT_SIZES
        if self.split is None:
            if any(map(self.given_as, GIVEN)):
                return
            sizes = self.default_sizes
        if self.split is not None or sizes != DEFAULT_SIZES:
            self.num_train = self.num_train or sizes[0]
            self.num_val = self.num_val or sizes[1]

    def of_frames(self, source: str) -> Any:
        r"""Returns the settings for frames of a source, which need not be all
        that it has: published sizes are not theirs.
        """
        changes: dict[str, Any] = {'data': source}
        if str(source).partition(':')[0] in SPLIT_SIZES and not any(
                map(self.given_as, GIVEN)):
            changes.update(num_train=self.num_train or self.default_sizes[0],
                           num_val=self.num_val or self.default_sizes[1])
        return replace(self, **changes)

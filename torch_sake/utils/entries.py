# For those who have them from here:
from torch_sake.utils.hints import (  # noqa: F401
    Count,
    FiniteFloat,
    PositiveFloat,
    PositiveInt,
    check_entry,
)
from torch_sake.utils.messages import errors_name  # noqa: F401
from torch_sake.utils.messages import in_words as shown  # noqa: F401
from torch_sake.utils.plain_checks import check_elements  # noqa: F401

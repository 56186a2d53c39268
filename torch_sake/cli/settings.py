r"""Files of settings."""

from typing import Any

import jsonargparse
from jsonargparse import ArgumentParser, Namespace

from torch_sake.files import local_path


class CommandParser(ArgumentParser):
    r"""A parser of a command. A file of settings (:obj:`--config`) is one of
    this machine, and must not name another one, which would be opened.
    """
    is_reading = False

    def parse_args(self, *args: Any, **kwargs: Any) -> Namespace:
        # Another package in this process may have allowed addresses.
        try:
            jsonargparse.set_parsing_settings(
                config_read_mode_urls_enabled=False,
                config_read_mode_fsspec_enabled=False)
        except (AttributeError, TypeError):  # before version 4.39
            jsonargparse.set_config_read_mode()
        return super().parse_args(*args, **kwargs)

    def parse_path(self, path: Any, *args: Any, **kwargs: Any) -> Namespace:
        if self.is_reading:
            raise TypeError(f"'config' must not be among the settings of a "
                            f"file (got {path!r})")
        local_path('config', path)
        return super().parse_path(path, *args, **kwargs)

    def parse_string(self, *args: Any, **kwargs: Any) -> Namespace:
        self.is_reading = True
        try:
            return super().parse_string(*args, **kwargs)
        finally:
            self.is_reading = False

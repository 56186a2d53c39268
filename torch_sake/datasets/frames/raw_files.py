import os.path as osp
from collections.abc import Callable, Sequence
from typing import Any

from torch_sake.utils.paths import PathLike, local_path


class _DownloadOnly:
    def _process(self) -> None:
        pass

    def load(self, *args: Any, **kwargs: Any) -> None:
        pass


def download_files(dataset: type, *args: Any) -> None:
    r"""Has a data set of PyG download its files and no more. What it would
    keep of them beside, in the folder :obj:`processed`, is pickled, and
    whoever made that folder could have it execute anything.
    """
    type(dataset.__name__, (_DownloadOnly, dataset), {})(*args)


def find_raw_files(root: PathLike, folder: str, names: Sequence[str],
                   data: str, download: Callable[[str], Any]) -> list[str]:
    r"""Returns the paths of the files of a published data set, which lie in a
    folder below :obj:`root` or directly in it, or else are downloaded to the
    former.
    """
    root = local_path('root', root)
    folder = osp.join(root, folder)
    for place in (folder, root):
        paths = [osp.join(place, name) for name in names]
        if all(osp.isfile(path) for path in paths):
            return paths
    # Failures are of the network, of its proxies or of an archive.
    try:
        download(root)
    except Exception as error:
        raise ValueError(
            f"There is no file of {data} and its download failed "
            f"({type(error).__name__}: {error}). Place {list(names)} in "
            f"'{folder}' or in '{root}'") from error
    return [osp.join(folder, name) for name in names]

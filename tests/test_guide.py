"""The Python code of the guide runs as it stands, page by page."""

import re
import textwrap
from pathlib import Path

import pytest

pytest.importorskip('pytorch_lightning')
pytest.importorskip('ase')

ROOT = Path(__file__).resolve().parents[1]


def run(page):
    """Runs the code of a page, one block after the other."""
    text, names = (ROOT / 'docs' / f'{page}.rst').read_text(), {}
    blocks = re.findall(r'\.\. code-block:: python\n\n((?: {3}.*\n|\n)+)',
                        text)
    assert blocks
    for block in blocks:
        exec(compile(textwrap.dedent(block), page, 'exec'), names)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """What the pages find where they run: the repository and a short run."""
    folder = tmp_path_factory.mktemp('guide')
    for name in ('examples', 'tests'):
        (folder / name).symlink_to(ROOT / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run('data')  # molecules.extxyz
        from torch_sake.training import TrainConfig, Trainer
        Trainer(TrainConfig(
            data='molecules.extxyz', num_train=20, num_val=5, num_steps=2,
            hidden_channels=8, num_layers=1, device='cpu',
            out='runs/molecules')).fit()
    return folder


@pytest.mark.parametrize('page', [
    'checkpoints', 'evaluation', 'labels', 'parity', 'performance',
    'quickstart', 'smoothness', 'testing', 'training', 'troubleshooting'])
def test_page(page, folder, monkeypatch):
    monkeypatch.chdir(folder)
    run(page)


def test_pages_are_short():
    def length(path):
        return len(path.read_text().splitlines())

    assert length(ROOT / 'README.rst') <= 100
    for path in (ROOT / 'docs').glob('**/*.rst'):
        assert length(path) < 250, path

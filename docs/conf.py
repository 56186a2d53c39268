import sys
from pathlib import Path

import torch_sake

sys.path.insert(0, str(Path(__file__).parent))  # mathml.py, references.py

project = 'torch_sake'
author = 'torch_sake contributors'
copyright = f'2026, {author}'
release = version = torch_sake.__version__

extensions = [
    'mathml',
    'references',
    'sphinx.ext.autodoc',
    'sphinx.ext.napoleon',
    'sphinx.ext.viewcode',
    'sphinx_copybutton',
]
exclude_patterns = ['_build']
nitpicky = True
# Words for types, and what is left of such as 'tuple[int, int]':
nitpick_ignore_regex = [
    ('py:class', r'callable|iterable|optional|(dict|list|tuple)\[.*')]

html_theme = 'furo'
html_title = f'torch_sake {version}'
html_math_renderer = 'mathml'
html_static_path = ['_static']
html_css_files = ['style.css']
copybutton_prompt_text = '$ '
copybutton_line_continuation_character = '\\'

add_module_names = False
autodoc_member_order = 'bysource'
autodoc_typehints_format = 'short'
maximum_signature_line_length = 79
python_use_unqualified_type_names = True
napoleon_custom_sections = [('Shapes', 'notes_style'),
                            ('Shapes, Raises', 'notes_style')]
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

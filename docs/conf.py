import torch_sake

project = 'torch_sake'
author = 'the torch_sake authors'
release = version = torch_sake.__version__

extensions = [
    'sphinx.ext.autodoc',
    'sphinx.ext.mathjax',
    'sphinx.ext.napoleon',
]
exclude_patterns = ['_build']

html_theme = 'alabaster'
html_theme_options = {
    'description': 'Spatial attention kinetic networks with '
    'E(n)-equivariance for PyTorch Geometric',
    'fixed_sidebar': True,
    'page_width': '1100px',
}

add_module_names = False
autodoc_member_order = 'bysource'
autodoc_typehints = 'none'  # types stand in the sections 'Args'
napoleon_custom_sections = [('Shapes', 'notes_style')]
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

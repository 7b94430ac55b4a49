"""Settings of the documentation: `make docs` writes docs/_build/html. Neither writing nor reading needs a network."""

import importlib
import pkgutil

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

import pointcoc

project = "pointcoc"
author = "The pointcoc developers"
copyright = author
version = release = pointcoc.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"pointcoc {release}"
html_math_renderer = "mathml"

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

default_role = "py:obj"
smartquotes = False  # quotes of docstrings are those of Python
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Shapes", "params_style")]
nitpick_ignore_regex = [
    (
        "py:obj",
        r".*",
    ),  # single backticks of docstrings: mostly arguments and fields, without an entry
    # Names that are imported for types alone, and variables of types.
    ("py:class", r"Path|Data|Tensor|Labels|Exportable|Mixup|nn\.Module|RegionProposalNetwork|.*\.[A-Z]"),
    (
        "py:.*",
        r"(torch|accelerate|torch_geometric|torchvision|timm|numpy|matplotlib|huggingface_hub|pathlib|collections)\b.*",
    ),
]


def write_mathml(writer, node):
    """Render equations without a script from elsewhere."""
    writer.body.append(tex2mathml(node.astext(), as_block=isinstance(node, nodes.math_block)))
    raise nodes.SkipNode


def check_public_names(app, env):
    """Warn about public names that no page documents: `make docs` turns warnings into errors."""
    documented = env.domains["py"].objects
    for package in ("pointcoc", *(f"pointcoc.{module.name}" for module in pkgutil.iter_modules(pointcoc.__path__))):
        for name in getattr(importlib.import_module(package), "__all__", ()):
            if not name.startswith("_") and not {f"{package}.{name}", f"pointcoc.{name}"} & documented.keys():
                logging.getLogger(__name__).warning("%s.%s is public and stands on no page", package, name)


def setup(app):
    """Add the above to Sphinx."""
    app.add_html_math_renderer("mathml", (write_mathml, None), (write_mathml, None))
    app.connect("env-check-consistency", check_public_names)

"""The site of these pages: `nox -s docs`. No network to build it, and none to read it.

The pages are plain Markdown that was printed or written before: nothing here imports
the package, nor TensorFlow.
"""

project = "keras_losses_ref"
extensions = ["myst_parser"]
# README.md is for where a repository is browsed; index.rst includes it.
exclude_patterns = ["README.md"]
html_theme = "furo"
html_title = project
html_static_path = ["_static"]
html_css_files = ["site.css"]
# A quotation mark in an example stays what it is.
smartquotes = False
html_copy_source = False
# The links of "Edit this page" would need to know where the repository is.
html_show_sourcelink = False
html_show_copyright = False

# Headings are link targets by GitHub's names for them.
myst_heading_anchors = 4
# Rows of tables are link targets too, which MyST does not know of; every link, and
# where it leads to, is checked by tests/test_docs.py.
suppress_warnings = ["myst.xref_missing"]

"""The site of these pages: `nox -s docs`. No network to build it, and none to read it.

The pages are plain Markdown, written by hand or printed by docs/tools. Nothing here
imports the package or TensorFlow.
"""

project = "keras_losses_ref"
extensions = ["myst_parser"]
# index.md includes it. It is a page only where the repository is browsed.
exclude_patterns = ["README.md"]
html_theme = "furo"
html_title = project
html_static_path = ["_static"]
html_css_files = ["site.css"]
# Keep the straight quotation marks of examples.
smartquotes = False
html_copy_source = False
# No "Edit this page": the site does not know where the repository is.
html_show_sourcelink = False
html_show_copyright = False

# Headings are link targets, with the names that GitHub gives them.
myst_heading_anchors = 4
# Rows of tables are link targets too, which MyST does not know. tests/test_docs.py
# checks every link and its target.
suppress_warnings = ["myst.xref_missing"]

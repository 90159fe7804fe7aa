"""The site's /docs/: the repository's Markdown files, searched and rendered, and a library reference made from docstrings."""

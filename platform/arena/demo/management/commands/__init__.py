"""One command of `manage.py` a file: fill the site with a demonstration season."""

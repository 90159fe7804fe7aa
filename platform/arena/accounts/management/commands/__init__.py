"""One command of `manage.py` a file: make a token for a script."""

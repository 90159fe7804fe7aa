"""One command of `manage.py` a file: the worker and the sweeper."""

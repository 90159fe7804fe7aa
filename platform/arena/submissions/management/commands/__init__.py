"""One command of `manage.py` a file: enter the baselines."""

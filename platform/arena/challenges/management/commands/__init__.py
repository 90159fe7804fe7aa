"""One command of `manage.py` a file: publish the packs."""

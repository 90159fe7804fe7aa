"""A season to look at: small networks and short attacks, really entered, judged and played; teams and dates are invented.

Needs torch; only `manage.py seed_demo` imports it.
"""

"""A function for the test of `replace`."""


def is_less(a: int, b: int) -> bool:
    return a < b

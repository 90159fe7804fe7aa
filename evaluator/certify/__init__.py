"""Certificates: lower bounds on robustness that hold against every attack, one method a file, behind one `certify`."""

from evaluator.certify.base import Certificates
from evaluator.certify.facade import METHODS, certify

__all__ = ["METHODS", "Certificates", "certify"]

"""Certificates: lower bounds on robustness that hold against every attack, one method a file, behind one `certify`."""

from evaluator.certify.at_radii import certify_at_radii
from evaluator.certify.base import Certificates
from evaluator.certify.facade import METHODS, certify

__all__ = ["METHODS", "Certificates", "certify", "certify_at_radii"]

"""Evaluations: the official verdict on a defense, from its place in the queue to the signed report."""

"""Challenges: published packs."""

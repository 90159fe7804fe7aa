"""Boards: what a challenge's board shows, with the history of every entry on it."""

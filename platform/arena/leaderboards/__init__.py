"""Boards: reads and ranking rules."""

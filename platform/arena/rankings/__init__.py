"""Ranking formulas: one small pure function each, no Django, no torch. docs/ranking.md has a paragraph for every one."""

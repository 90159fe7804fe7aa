"""Ranking formulas: one small pure function each, without Django or torch, each with a paragraph in docs/ranking.md."""

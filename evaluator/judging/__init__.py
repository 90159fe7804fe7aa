"""Judging: from a defense, its images and a threat to verdicts, and to what can be checked again."""

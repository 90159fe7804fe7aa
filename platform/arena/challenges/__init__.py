"""Challenges: the packs that the site shows, with their phases and what may be wrong with a pack."""

"""Running judges a defense, an attack or a certificate in lanes, knows no Django, and serves site, workers and command line."""

"""Running judges a defense, an attack or a certificate in lanes; site, workers and command line call it. It knows no Django."""

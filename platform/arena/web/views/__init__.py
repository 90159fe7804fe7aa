"""The site's pages, one module per group; function-based, short, permissions first."""

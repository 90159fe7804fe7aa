"""The `redoubt` command: what the site does, on your own machine."""

"""The site: pages, partials and drawings. Reads through the other apps' `queries`, changes through their `services`."""

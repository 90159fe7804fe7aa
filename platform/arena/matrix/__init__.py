"""The living matrix: every accepted attack against every standing defense."""

"""The bubblewrap sandbox: one machine, no engine, no root."""

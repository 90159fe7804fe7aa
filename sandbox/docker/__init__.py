"""The Docker sandbox: containers without network, with the engine behind a socket."""

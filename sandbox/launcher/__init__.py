"""The launcher: the one process that holds the engine's socket, its client, and the protocol between them."""

"""The model host: a program that loads a submission inside a sandbox and answers questions, and the scorer's proxy to it."""

"""The load generator: `engine load`.

Commands arrive by themselves (an open loop) at a server over ZeroMQ, or at an exchange in this
process; what each waits is counted from the time at which it was meant to be sent. docs/load.md
has the options and how to read the figures.
"""

"""A journaled server and its clients in one process, on a clock, a disk and a network of ours.

`world` has time and turns, `storage` the disk, `network` the sockets, `faults` what goes wrong,
`actors` who talks to the server, `ledger` what has to hold, `run` one run from one seed,
`canaries` bugs that must be found. `python -m simulation` runs many seeds (tools/simulate).
"""

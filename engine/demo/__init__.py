"""The main job: a crash hits a population of accounts, over real ZeroMQ.

`python -m engine.demo` builds the exchange, its makers and the population,
starts `engine replay` as a second process, follows its marks, and writes a
report. The same arguments give the same `state_hash`.
"""

"""Hot standby: a copy of a journal that is kept in step, and takes over when it is told to.

`history` tells copies apart, `cursor` reads a journal while it is written, `messages` has the wire,
`primary` sends, `copy` and `standby` receive. docs/operations.md says how it is run.
"""

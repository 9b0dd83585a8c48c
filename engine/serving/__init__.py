"""The server: commands over ZeroMQ, durable in a journal before they are applied.

`sessions` knows which requests were taken already, `sequencer` brings a batch through journal and
exchange, `gateway` is the socket, `recovery` brings a journal back, `service` the loop around them.
"""

"""A client that disconnects before it has its answer."""


class ClientDisconnected(Exception):
    """The client has left, or accepts no more of its answer. Work for it goes on elsewhere."""

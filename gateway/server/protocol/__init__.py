"""uvicorn's HTTP protocol, with limits of our own and a shorter way for megabytes.

`connection` subclasses uvicorn's `HttpToolsProtocol`; the other modules are its parts:
`connection_limits` (the limits), `request_head` (which heads are refused), `slow_client` (limits of
slow heads and unread answers), `early_close` (answers of the protocol itself).

Three modules make a hit cheaper. They are kept because a hit of 1 MB (8 connections, one worker)
costs 21 % more CPU and 20 % of the throughput without them: 3.69 ms of CPU instead of 3.18, the
medians of the 12 quieter of 24 interleaved rounds. Each of them counts:

- `direct_read`: the body of known length is received into the bytes that the application gets.
  uvicorn's way copies it three times: out of the read buffer, out of the parser, out of its own
  buffer. The parser sees only the head; while a body arrives, `ClientConnection.body_received`
  takes the place of its callbacks. An upload then also arrives in fewer, larger pieces.
- `uninitialised_bytes`: those bytes are neither zeroed first nor copied at the end. With a
  `bytearray` in their place, a hit costs 6 % more CPU.
- `write_coalescing`: head and body of an answer leave in one system call and wake the client
  once. Without it, a hit costs 9 % more CPU.

uvicorn is pinned to the range of versions with which this was tested (`pyproject.toml`), since
`HttpToolsProtocol` and its `cycle` are not a public interface.
"""

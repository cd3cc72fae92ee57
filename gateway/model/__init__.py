"""The values that every package shares: plain frozen data without I/O.

Units stand last in a name: `_nanos` is an integer of nano-dollars. `_ms` is a unix timestamp in
milliseconds where the name says when, and a duration in milliseconds where it says how long.
"""

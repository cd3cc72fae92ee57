"""Request bodies: multipart and JSON parsing, the spool of uploaded bytes, picture checks."""

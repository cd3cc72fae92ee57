"""The gallery: which results are stored, whose they are, and thumbnails of them for people."""

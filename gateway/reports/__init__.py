"""Usage reports by schedule: the organisation's to finance, each team's to its owner."""

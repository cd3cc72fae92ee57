# ruff: noqa: S608 - made of numbers
"""A state in which every key has made calls on every day until today, as SQL of SQLite."""

from __future__ import annotations

from collections.abc import Sequence

from tests.ledger.test_growth import COARSER


def busy_days(*, teams: int, keys: int, days: int, calls: int) -> Sequence[str]:
    """The statements: so many calls of each key and day, and four roll-ups."""
    rows = f"""
WITH RECURSIVE
  d(day, n) AS (
    SELECT date('now'), 1 UNION ALL SELECT date(day, '-1 day'), n + 1 FROM d WHERE n < {days}
  ),
  k(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM k WHERE i < {keys - 1}),
  c(j) AS (SELECT 0 UNION ALL SELECT j + 1 FROM c WHERE j < {calls - 1})
"""
    return (
        f"""
INSERT INTO rollups (day, dimensions, team, key_id, model, owner, cost_centre, tags, outcome,
  cause, calls, errors, saved_nanos, paid_calls, spent_nanos, estimated_calls, estimated_nanos,
  corrections_nanos, images)
{rows}
SELECT day, i || o.column1, 'team-' || (i % {teams}), 'key_' || i, 'model', '', '', '{{}}',
  o.column1, o.column2, o.column3 * {calls}, 0, 0, o.column4 * {calls},
  o.column4 * {calls} * 10000000, 0, 0, 0, o.column4 * {calls}
FROM d, k, (VALUES ('hit', 'reuse', 1, 0), ('coalesced', 'coalesced', 1, 0), ('miss', '', 1, 0),
  ('', '', 0, 1)) o
""",
        f"""
INSERT INTO ledger (id, kind, corrects, at_ms, day, request_id, upstream_request_id, credential,
  team, key_id, model, route, fingerprint, reference_images, body_bytes, answer_bytes, status, n,
  images, cost_nanos, estimated, owner, cost_centre, tags)
{rows}
SELECT 'rsv_' || i || '_' || j || day, 'call', NULL, n, day, 'req_' || i || '_' || j || day, '',
  '', 'team-' || (i % {teams}), 'key_' || i, 'model', 'edits', '', 1, 1, 1, 200, 1, 1, 10000000,
  0, '', '', '{{}}'
FROM d, k, c
""",
        *COARSER,
    )

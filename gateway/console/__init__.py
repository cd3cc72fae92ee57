"""The console: web pages for people, rendered on the server.

To add a page:

1. A module in `pages/` with `async def show(request: PageRequest) -> Answer`. It reads and changes
   through `request.call("GET /budgets", query={…})`: the rows of the table of `/admin/v1`, with
   its roles, its checks and its audit, so that no page has SQL or a role of its own. Add a row to
   that table where one is missing. For what is no such route, `request.parts` has the services.
2. A template in `templates/` that extends `base.html`, with the macros in `templates/macros/`:
   `chart` (numbers by `rules/bar_chart.py`), `table`, `bar`, `field`, `tabs` and others. Write
   addresses as `link('/console/…')`, amounts as `usd|money`. No inline script and no `style`
   attribute: the policy of `app.py` forbids both, and a test in a browser fails.
3. A row in `page_table.py`: its path, its entry in the menu, and the route that it `needs`, whose
   roles may see the page; `members` for holders of keys.

A form posts to a row of its own. `request.form` has passed the check of its CSRF token already
(the field `csrf` that `form_head` writes, or the header `x-csrf-token` of a script). Where `call`
raises a Refusal, answer with the form again: `{"form": request.form.failed(refusal)}`; the macros
write the sentence beside its field and keep what was typed. Else answer `SeeOther(path)`.

A test in tests/console/pages/ opens it by the fixture `browse`, which looks for errors in the
browser's console, requests to other hosts, and a page wider than 360 pixels.
"""

from gateway.console.app import console_routes

__all__ = ["console_routes"]

"""End users: what is kept of a person, and forgetting one.

The person is named in the body, not in the path, which logs of proxies keep.
"""

from __future__ import annotations

from gateway.api.admin.background_jobs import BackgroundJobs
from gateway.api.admin.inputs import EndUserBody, ForgetBody, Query
from gateway.api.admin.request_input import AdminRequest
from gateway.api.admin.token_holder import team_of
from gateway.cache.result_store import Progress
from gateway.queries.end_user_admin import EndUserAdmin
from gateway.queries.models.end_users import EndUserView, ForgottenUserView, UnfinishedUserView
from gateway.queries.models.read_model import ReadModel


class EndUserHandlers:
    """Handles `/admin/v1/users`. Raises Refusal, BadValue, StoreUnavailable."""

    def __init__(self, users: EndUserAdmin) -> None:
        self._users = users
        self._jobs = BackgroundJobs()

    async def close(self) -> None:
        """Cancel the running jobs."""
        await self._jobs.close()

    async def show(self, request: AdminRequest[Query, EndUserBody]) -> ReadModel:
        user, team = request.body.user, team_of(request.team, request.body.team)

        async def work(progress: Progress) -> EndUserView:
            return await self._users.show(user, team, progress)

        job = await self._jobs.wait(("show", team, user), work)
        if (found := job.result) is None:
            return UnfinishedUserView(object="end_user", done=job.done, total=job.total)
        return found

    async def forget(self, request: AdminRequest[Query, ForgetBody]) -> ReadModel:
        body, by = request.body, request.by
        team, dry_run = team_of(request.team, body.team), bool(body.dry_run)

        async def work(progress: Progress) -> ForgottenUserView:
            return await self._users.forget(body.user, team, by, progress, dry_run=dry_run)

        job = await self._jobs.wait(("forget", dry_run, team, body.user), work)
        if (found := job.result) is None:
            return UnfinishedUserView(object="forgotten_user", done=job.done, total=job.total)
        return found

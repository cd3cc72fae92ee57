from __future__ import annotations

import httpx

from gateway.emulator import EmulatorSettings, Knobs, create_app


async def test_a_foreign_server_says_that_it_can_not_break_a_connection() -> None:
    app = create_app(EmulatorSettings(knobs=Knobs(reset_before_read=True)))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://emulator") as http:
        answer = await http.post("/v1/images/edits")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")

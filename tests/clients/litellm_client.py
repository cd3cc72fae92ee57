"""Carries out commands with LiteLLM as a library: one JSON line in, one out. See scripts.py."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else its import fetches one
import litellm

litellm.suppress_debug_info = True  # it would print between the answers


def edit(command: dict[str, Any]) -> dict[str, Any]:
    try:
        with Path(command["folder"], "photo.jpg").open("rb") as picture:
            answer = litellm.image_edit(
                image=[picture],
                api_base=command["base_url"],
                api_key=command["api_key"],
                custom_llm_provider="openai",
                **command["fields"],
            )
    except Exception as error:  # noqa: BLE001 - whatever the library raises is what is tested
        return {"error": {"class": type(error).__name__, "message": str(error)}}
    usage = answer.usage
    counts = {
        name: getattr(usage, name) for name in ("input_tokens", "output_tokens", "total_tokens")
    }
    return {"picture": answer.data[0].b64_json, "usage": counts}


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(json.dumps(edit(json.loads(line))) + "\n")
        sys.stdout.flush()

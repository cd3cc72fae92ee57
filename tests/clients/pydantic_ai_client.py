"""Carries out commands with pydantic-ai: one JSON line in, one out. See scripts.py."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from pathlib import Path
from typing import Any

from pydantic_ai import BinaryImage
from pydantic_ai.images import ImageGenerator
from pydantic_ai.images.openai import OpenAIImageGenerationModel
from pydantic_ai.providers.openai import OpenAIProvider


async def edit(command: dict[str, Any]) -> dict[str, Any]:
    fields = command["fields"]
    provider = OpenAIProvider(base_url=command["base_url"], api_key=command["api_key"])
    generator = ImageGenerator(OpenAIImageGenerationModel(fields["model"], provider=provider))
    picture = BinaryImage(
        Path(command["folder"], "photo.jpg").read_bytes(), media_type="image/jpeg"
    )
    try:
        answer = await generator.generate(fields["prompt"], images=[picture])
    except Exception as error:  # noqa: BLE001 - whatever the library raises is what is tested
        return {"error": {"class": type(error).__name__, "message": str(error)}}
    usage = answer.usage
    return {
        "picture": base64.b64encode(answer.images[0].content.data).decode(),
        "usage": {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "total_tokens": usage.total_tokens,
        },
    }


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(json.dumps(asyncio.run(edit(json.loads(line)))) + "\n")
        sys.stdout.flush()

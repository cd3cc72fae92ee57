"""Snippets of code that make one edit, with the base URL and the key filled in."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass

KEY = "YOUR_KEY"


@dataclass(frozen=True, slots=True)
class Snippet:
    """A program that reads photo.jpg and writes edited.png."""

    id: str
    title: str
    text: str


def edit_command(base_url: str, key: str, model: str, prompt: str) -> str:
    """The curl command of an edit of photo.jpg; the prompt is sent as it is, whatever it holds."""
    return (
        f"curl -s {shlex.quote(base_url + '/images/edits')} \\\n"
        f"  -H {shlex.quote(f'Authorization: Bearer {key}')} \\\n"
        f"  -F {shlex.quote(f'model={model}')} \\\n"
        f"  --form-string {shlex.quote(f'prompt={prompt}')} \\\n"
        "  -F 'image[]=@photo.jpg' |\n"
        "  jq -r '.data[0].b64_json' | base64 -d > edited.png"
    )


def snippets(base_url: str, key: str, model: str) -> tuple[Snippet, ...]:
    """The snippets of a gateway; `base_url` ends in /v1."""
    url, secret, name = json.dumps(base_url), json.dumps(key), json.dumps(model)
    return (
        Snippet(
            "curl",
            "curl",
            edit_command(base_url, key, model, "make it grey"),
        ),
        Snippet(
            "python",
            "Python",
            "# pip install openai\n"
            "import base64\n"
            "from openai import OpenAI\n\n"
            f"client = OpenAI(base_url={url}, api_key={secret})\n"
            "edit = client.images.edit(\n"
            f"    model={name},\n"
            '    prompt="make it grey",\n'
            '    image=open("photo.jpg", "rb"),\n'
            ")\n"
            'open("edited.png", "wb").write(base64.b64decode(edit.data[0].b64_json))',
        ),
        Snippet(
            "node",
            "Node",
            "// npm install openai; save as edit.mjs\n"
            'import fs from "node:fs";\n'
            'import OpenAI from "openai";\n\n'
            f"const client = new OpenAI({{ baseURL: {url}, apiKey: {secret} }});\n"
            "const edit = await client.images.edit({\n"
            f"  model: {name},\n"
            '  prompt: "make it grey",\n'
            '  image: fs.createReadStream("photo.jpg"),\n'
            "});\n"
            'fs.writeFileSync("edited.png", Buffer.from(edit.data[0].b64_json, "base64"));',
        ),
        Snippet(
            "ai-sdk",
            "Vercel AI SDK",
            "// npm install ai @ai-sdk/openai; save as edit.mjs\n"
            'import fs from "node:fs";\n'
            'import { createOpenAI } from "@ai-sdk/openai";\n'
            'import { generateImage } from "ai";\n\n'
            f"const openai = createOpenAI({{ baseURL: {url}, apiKey: {secret} }});\n"
            "const { image } = await generateImage({\n"
            f"  model: openai.image({name}),\n"
            '  prompt: { text: "make it grey", images: [fs.readFileSync("photo.jpg")] },\n'
            "});\n"
            'fs.writeFileSync("edited.png", image.uint8Array);',
        ),
    )

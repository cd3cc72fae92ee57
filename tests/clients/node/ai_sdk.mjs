// Carries out commands with the Vercel AI SDK: one JSON line in, one out. See ../scripts.py.

import fs from "node:fs";
import path from "node:path";
import readline from "node:readline";

import { createOpenAI } from "@ai-sdk/openai";
import { generateImage } from "ai";

async function edit(command) {
  const openai = createOpenAI({ baseURL: command.base_url, apiKey: command.api_key });
  const picture = fs.readFileSync(path.join(command.folder, "photo.jpg"));
  const { model, prompt } = command.fields;
  try {
    const { image, usage } = await generateImage({
      model: openai.image(model),
      prompt: { text: prompt, images: [picture] },
    });
    return {
      picture: image.base64,
      usage: {
        input_tokens: usage.inputTokens,
        output_tokens: usage.outputTokens,
        total_tokens: usage.totalTokens,
      },
    };
  } catch (error) {
    return { error: { class: error.constructor.name, message: error.message } };
  }
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  process.stdout.write(JSON.stringify(await edit(JSON.parse(line))) + "\n");
}

/**
 * Reading a log that has holes, as a client does that would rather have the
 * rest than nothing: each hole is told once, with the cursor that leads over it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { json, text } from "./http.ts";
import type { Sender, WireMessage, WirePage, WireProblem } from "./wire.ts";

export interface Hole {
  readonly code: string;
  /** The cursor to go on from. */
  readonly next?: string;
  readonly queueOffset?: string;
}

export interface ReadAcross {
  readonly messages: readonly WireMessage[];
  readonly texts: readonly string[];
  readonly holes: readonly Hole[];
}

export async function readAcrossDamage(sender: Sender, topic: string): Promise<ReadAcross> {
  const messages: WireMessage[] = [];
  const holes: Hole[] = [];
  let after = "earliest";
  for (;;) {
    const path = `/v1/topics/${topic}/messages?limit=50&after=${encodeURIComponent(after)}`;
    const answer = await sender.request({ path });
    if (answer.status === 200) {
      const page = json(answer) as WirePage;
      messages.push(...page.messages);
      after = page.cursor;
      if (page.upToDate) return { messages, texts: textsOf(messages), holes };
    } else {
      const hole = json(answer) as WireProblem & Hole;
      assert.equal(hole.code, "data-damaged", text(answer));
      assert(hole.next !== undefined && hole.next !== after, "the problem leads over the hole");
      after = hole.next;
      holes.push(hole);
    }
  }
}

export function textsOf(messages: readonly WireMessage[]): string[] {
  return messages.map((message) => message.text ?? "");
}

/**
 * `tidegate search` and `tidegate trace`: which messages there are, and what happened to one.
 *
 * @module
 */

import { type Command, Option } from "commander";
import { Client, type ClientOptions, segment, withUrl } from "./client.ts";
import { CliError } from "./exit.ts";
import { messageLine, type TailedMessage } from "./tail.ts";
import type { Terminal } from "./terminal.ts";
import { wholeNumber } from "./topic.ts";

interface SearchOptions extends ClientOptions {
  readonly index?: string;
  readonly from?: string;
  readonly to?: string;
  readonly max?: number;
  readonly format: "json" | "text";
}

interface TraceOptions extends ClientOptions {
  readonly json?: boolean;
}

interface Event {
  readonly event: string;
  readonly at: string;
  readonly [fact: string]: unknown;
}

const SEARCH_EXAMPLES = `
Examples:
  tidegate search orders --index cust-9
  tidegate search orders --from 2026-11-22T08:00:00Z --to 2026-11-22T09:00:00Z --format text --max 10`;

const TRACE_EXAMPLES = `
Examples:
  tidegate trace orders 1Yt3RkQV1StGXR8_Z5jdH`;

export function searchCommand(parent: Command, terminal: Terminal): void {
  const command = parent
    .command("search <topic>")
    .description("find messages by index key or time, the last first")
    .option("--index <key>", "only with this index key")
    .option("--from <time>", "became visible then or later (RFC 3339)")
    .option("--to <time>", "became visible before then (RFC 3339)")
    .option("--max <count>", "end after so many messages", wholeNumber)
    .addOption(
      new Option("--format <format>", "json: one object a line; text: for people")
        .choices(["json", "text"])
        .default("json"),
    )
    .addHelpText("after", SEARCH_EXAMPLES);
  withUrl(command).action(async (topic: string, options: SearchOptions) => {
    const { index, from, to, max = Infinity, format } = options;
    const query = {
      ...(index !== undefined && { index }),
      ...(from !== undefined && { from }),
      ...(to !== undefined && { to }),
    };
    if (Object.keys(query).length === 0) {
      throw new CliError("usage", "Cannot search: give --index, --from or --to");
    }
    let left = max;
    if (left === 0) return;
    const path = `/v1/topics/${segment(topic)}/search`;
    const client = new Client(options, terminal);
    const pages = { limit: Math.min(max, 1000), query };
    for await (const message of client.pages<TailedMessage>(path, "messages", pages)) {
      terminal.print(format === "json" ? JSON.stringify(message) : messageLine(message));
      if (--left === 0) return;
    }
  });
}

export function traceCommand(parent: Command, terminal: Terminal): void {
  const command = parent
    .command("trace <topic> <id>")
    .description("what happened to a message, oldest first")
    .option("--json", "one JSON object a line")
    .addHelpText("after", TRACE_EXAMPLES);
  withUrl(command).action(async (topic: string, id: string, options: TraceOptions) => {
    const client = new Client(options, terminal);
    const path = `/v1/topics/${segment(topic)}/messages/${segment(id)}/trace`;
    for await (const event of client.pages<Event>(path, "events")) {
      terminal.print(options.json ? JSON.stringify(event) : eventLine(event));
    }
  });
}

/** `2026-11-22T08:00:00.123Z  delivered  group=billing attempt=1`, facts in the node's order. */
function eventLine({ event, at, ...facts }: Event): string {
  const told = Object.entries(facts).map(([name, value]) => `${name}=${shown(value)}`);
  return [at, event, told.join(" ")].filter(Boolean).join("  ");
}

function shown(value: unknown): string {
  const text = String(value);
  return /\s/.test(text) ? JSON.stringify(text) : text;
}

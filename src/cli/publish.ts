/**
 * `tidegate publish`: one message over HTTP, its body from an argument, a file
 * or standard input. The bytes are sent as they are.
 *
 * @module
 */

import { readFile } from "node:fs/promises";
import { type Command, InvalidArgumentError } from "commander";
import { Client, type ClientOptions, segment, withUrl } from "./client.ts";
import { CliError } from "./exit.ts";
import type { Terminal } from "./terminal.ts";

interface PublishOptions extends ClientOptions {
  readonly file?: string;
  readonly key?: string;
  readonly tag?: string;
  readonly id?: string;
  readonly delay?: string;
  readonly deliverAt?: string;
  readonly index?: readonly string[];
  readonly property?: readonly string[];
  readonly contentType?: string;
  readonly json?: boolean;
}

interface Answer {
  readonly id: string;
  readonly queueId: number;
  readonly queueOffset: string;
  /** Of a delayed message, which has no offset yet. */
  readonly deliverAt?: string;
}

const EXAMPLES = `
Examples:
  tidegate publish orders '{"total":12}' --content-type application/json --key order-17
  tidegate publish orders --file photo.png --content-type image/png --property region=eu
  date | tidegate publish clock`;

export function publishCommand(parent: Command, terminal: Terminal): void {
  const command = parent
    .command("publish <topic> [body]")
    .description("publish one message; without body or file, standard input is the body")
    .option("--file <path>", "read the body from a file")
    .option("--key <key>", "ordering key: messages of one key stay in order")
    .option("--tag <tag>", "tag, for cheap filtering")
    .option("--index <key>", "search key; may be repeated", collect)
    .option("--property <name=value>", "user property; may be repeated", collectPair)
    .option("--id <id>", "the message's id, instead of a generated one")
    .option("--delay <seconds>", "deliver it so much later; decimals allowed")
    .option("--deliver-at <time>", "deliver it then: RFC 3339, 2026-11-22T08:00:00Z")
    .option(
      "--content-type <type>",
      "what the body is (else text/plain, or application/octet-stream where it is not UTF-8)",
    )
    .option("--json", "print the node's answer as JSON")
    .addHelpText("after", EXAMPLES);
  withUrl(command).action(
    async (topic: string, text: string | undefined, options: PublishOptions) => {
      const client = new Client(options, terminal);
      const body = await bodyOf(text, { options, terminal });
      const answer = await client.json<Answer>(`/v1/topics/${segment(topic)}/messages`, {
        method: "POST",
        headers: headersOf(options, options.contentType ?? guessType(body)),
        body,
      });
      terminal.print(options.json ? JSON.stringify(answer) : told(topic, answer));
    },
  );
}

function told(topic: string, { id, queueId, queueOffset, deliverAt }: Answer): string {
  return deliverAt === undefined
    ? `published ${id} to ${topic}, queue ${queueId}, offset ${queueOffset}`
    : `scheduled ${id} to ${topic}, queue ${queueId}, for ${deliverAt}`;
}

async function bodyOf(
  text: string | undefined,
  { options, terminal }: { options: PublishOptions; terminal: Terminal },
): Promise<Uint8Array<ArrayBuffer>> {
  const { file } = options;
  if (text !== undefined && file !== undefined) {
    throw new CliError("usage", "Cannot publish both the argument and the file: give one");
  }
  if (text !== undefined) return new TextEncoder().encode(text);
  if (file === undefined) return new Uint8Array(await terminal.input());
  try {
    return new Uint8Array(await readFile(file));
  } catch (error) {
    throw new CliError("noInput", `Cannot read "${file}": ${(error as Error).message}`, error);
  }
}

function guessType(body: Uint8Array): string {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(body);
    return "text/plain";
  } catch {
    return "application/octet-stream"; // Not UTF-8.
  }
}

/** Header values are percent-decoded by the node, so any text can go in. */
function headersOf(options: PublishOptions, contentType: string): Record<string, string> {
  const headers: Record<string, string> = { "Content-Type": contentType };
  const { key, tag, id, delay, deliverAt, index, property = [] } = options;
  if (key !== undefined) headers["Message-Key"] = encodeURIComponent(key);
  if (tag !== undefined) headers["Message-Tag"] = encodeURIComponent(tag);
  if (id !== undefined) headers["Message-Id"] = encodeURIComponent(id);
  if (delay !== undefined) headers["Delay"] = delay;
  if (deliverAt !== undefined) headers["Deliver-At"] = deliverAt;
  if (index) headers["Message-Index"] = index.map(encodeURIComponent).join(",");
  for (const pair of property) {
    const at = pair.indexOf("=");
    headers[`Message-Property-${pair.slice(0, at)}`] = encodeURIComponent(pair.slice(at + 1));
  }
  return headers;
}

function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

function collectPair(value: string, before: readonly string[] = []): readonly string[] {
  if (/^[\w.-]+=/.test(value)) return [...before, value];
  throw new InvalidArgumentError("Expected name=value.");
}

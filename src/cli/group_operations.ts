/**
 * `tidegate group`: pausing, seeking, lag and dead letters.
 *
 * @module
 */

import type { Command } from "commander";
import { Client, type ClientOptions, segment, sending, withUrl } from "./client.ts";
import type { Terminal } from "./terminal.ts";

interface QueueLag {
  readonly queueId: number;
  readonly committedOffset: string;
  readonly endOffset: string;
  readonly ready: number;
  readonly leased: number;
  readonly oldestAgeMs: number;
  readonly expiredUnread: number;
}

interface DeadLetter {
  readonly message: {
    readonly id?: string;
    readonly topic: string;
    readonly queueId: number;
    readonly queueOffset: string;
  };
  readonly cause: "attempts" | "rejected";
  readonly reason: string;
  readonly attempts: number;
  readonly deadAt: string;
}

interface Readable extends ClientOptions {
  readonly json?: boolean;
}

interface RedriveOptions extends ClientOptions {
  readonly id?: readonly string[];
  readonly toTopic?: string;
}

export function groupPath(name: string): string {
  return `/v1/groups/${segment(name)}`;
}

export function groupOperations(group: Command, terminal: Terminal): void {
  for (const verb of ["pause", "resume"] as const) {
    const does = verb === "pause" ? "deliver nothing until it is resumed" : "deliver again";
    withUrl(group.command(`${verb} <group>`).description(does)).action(
      async (name: string, options: ClientOptions) => {
        await new Client(options, terminal).json(`${groupPath(name)}/${verb}`, { method: "POST" });
        terminal.print(`${verb}d ${name}`);
      },
    );
  }

  withUrl(
    group
      .command("seek <group> <topic> <position>")
      .description("go on at earliest, latest, time:<RFC 3339> or a cursor; leases become void"),
  ).action(async (name: string, topic: string, position: string, options: ClientOptions) => {
    const client = new Client(options, terminal);
    const path = `${groupPath(name)}/seek`;
    const sought = await client.json<{
      queues: readonly { queueId: number; position: string }[];
    }>(path, sending("POST", { topic, to: placeOf(position) }));
    for (const one of sought.queues) terminal.print(`queue ${one.queueId} at ${one.position}`);
  });

  withUrl(group.command("lag <group>").description("how far a group is behind, by queue"))
    .option("--json", "the node's answer as JSON")
    .action(async (name: string, options: Readable) => {
      const lag = await new Client(options, terminal).json<{
        topics: readonly { topic: string; queues: readonly QueueLag[] }[];
      }>(`${groupPath(name)}/lag`);
      if (options.json) return terminal.print(JSON.stringify(lag));
      for (const { topic, queues } of lag.topics) {
        for (const queue of queues) terminal.print(`${topic}  ${lagLine(queue)}`);
      }
    });

  withUrl(group.command("dead-letters <group>").description("list what a group gave up on"))
    .option("--json", "one JSON object a line")
    .action(async (name: string, options: Readable) => {
      const client = new Client(options, terminal);
      const path = `${groupPath(name)}/dead-letters`;
      for await (const one of client.pages<DeadLetter>(path, "deadLetters")) {
        terminal.print(options.json ? JSON.stringify(one) : deadLetterLine(one));
      }
    });

  withUrl(group.command("redrive <group>").description("send dead letters back, all or by id"))
    .option("--id <id>", "only of the message with this id; may be repeated", collect)
    .option("--to-topic <topic>", "publish copies there instead")
    .action(async (name: string, options: RedriveOptions) => {
      const client = new Client(options, terminal);
      const { id: ids, toTopic } = options;
      const path = `${groupPath(name)}/dead-letters/redrive`;
      const wish = sending("POST", { ids, toTopic });
      const { redriven } = await client.json<{ redriven: number }>(path, wish);
      terminal.print(`sent back ${redriven}`);
    });
}

function placeOf(position: string): string | { time: string } | { cursor: string } {
  if (position === "earliest" || position === "latest") return position;
  return position.startsWith("time:") ? { time: position.slice(5) } : { cursor: position };
}

function lagLine(lag: QueueLag): string {
  const { queueId, ready, leased, oldestAgeMs, expiredUnread, ...queue } = lag;
  const age = oldestAgeMs > 0 ? `  oldest ${(oldestAgeMs / 1000).toFixed(1)} s` : "";
  const place = `${queue.committedOffset} of ${queue.endOffset}`;
  const expired = expiredUnread > 0 ? `  ${expiredUnread} expired unread` : "";
  return `queue ${queueId}  ${place}  ${ready} ready  ${leased} leased${age}${expired}`;
}

function deadLetterLine({ message, cause, reason, attempts, deadAt }: DeadLetter): string {
  const { id = "(damaged)", topic, queueId, queueOffset } = message;
  const why = `${cause === "rejected" ? "rejected" : "given up"} at attempt ${attempts}`;
  return `${deadAt}  ${topic} ${queueId}:${queueOffset}  ${id}  ${why}${reason && `: ${reason}`}`;
}

function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

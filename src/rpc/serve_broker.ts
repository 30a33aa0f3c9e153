/**
 * A broker's functions as the services of a server.
 *
 * @module
 */

import type { BrokerGroupApi, NodeStatus } from "../broker/api.ts";
import type { Clock } from "../../storage/base/clock.ts";
import {
  entriesOf,
  GROUPS,
  MESSAGES,
  PRODUCERS,
  type Section,
  SHARE,
  TOPICS,
  TRANSACTIONS,
  WATCH_STATUS,
} from "./broker_methods.ts";
import type { CallContext, ItemSink, Services } from "./method.ts";
import { pause } from "./pause.ts";

/** How often the state of a node is looked at while somebody watches it. */
export const STATUS_MS = 1000;

type Functions = Record<string, (...args: unknown[]) => Promise<unknown>>;

/** Lets `services` answer for `api`. */
export function serveBroker(
  services: Services,
  { api, clock }: { readonly api: BrokerGroupApi; readonly clock: Clock },
): Services {
  serve(services, TOPICS, api.topics);
  serve(services, MESSAGES, api.messages);
  serve(services, GROUPS, api.groups);
  serve(services, TRANSACTIONS, api.transactions);
  serve(services, PRODUCERS, api.transactions.producers);
  serve(services, SHARE, api.share);
  return services.stream(WATCH_STATUS, (_, sink) => watch(sink, { api, clock }));
}

function serve<Api>(services: Services, section: Section<Api>, api: Api): void {
  const functions = api as Functions;
  for (const [name, { method, waits }] of entriesOf(section)) {
    const answer = (args: unknown[], context: CallContext) => {
      const list = Array.isArray(args) ? args : []; // a wrong one fails as a missing argument does
      if (!waits) return (functions[name] as Functions[string])(...list);
      const given = Array.from({ length: waits.arity }, (_, index) => list[index]);
      return (functions[name] as Functions[string])(...given, { signal: context.signal });
    };
    services.call(method, answer);
  }
}

async function watch(
  sink: ItemSink<NodeStatus>,
  { api, clock }: { readonly api: BrokerGroupApi; readonly clock: Clock },
): Promise<void> {
  let last = "";
  while (!sink.signal.aborted) {
    const status = api.status();
    const told = JSON.stringify(status);
    if (told !== last) await sink.send(status);
    last = told;
    await pause(clock, { ms: STATUS_MS, signal: sink.signal });
  }
}

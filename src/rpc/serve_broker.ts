/**
 * A broker's functions as the services of a server: of one that is always there, or of
 * one that comes and goes, behind whoever decides which calls are made and which of
 * their answers leave.
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
import { type CallContext, type Effect, effectOf, type ItemSink, type Services } from "./method.ts";
import { pause } from "./pause.ts";

/** How often the state of a node is looked at while somebody watches it. */
export const STATUS_MS = 1000;

type Functions = Record<string, (...args: unknown[]) => Promise<unknown>>;

/** Whoever makes the calls of a broker. */
export interface BrokerCalls {
  /** Makes a call, or refuses it; what this gives, or rejects with, is the answer. */
  run(effect: Effect, call: (api: BrokerGroupApi) => Promise<unknown>): Promise<unknown>;
  status(): NodeStatus;
}

/** Lets `services` answer for `api`. */
export function serveBroker(
  services: Services,
  { api, clock }: { readonly api: BrokerGroupApi; readonly clock: Clock },
): Services {
  const calls: BrokerCalls = { run: (_, call) => call(api), status: () => api.status() };
  return serveCalls(services, { calls, clock });
}

/** Lets `services` answer for the broker that `calls` has at that moment. */
export function serveCalls(
  services: Services,
  { calls, clock }: { readonly calls: BrokerCalls; readonly clock: Clock },
): Services {
  const add = <Api>(section: Section<Api>, of: (api: BrokerGroupApi) => Api) =>
    serve(services, section, { calls, of: (api) => of(api) as Functions });
  add(TOPICS, (api) => api.topics);
  add(MESSAGES, (api) => api.messages);
  add(GROUPS, (api) => api.groups);
  add(TRANSACTIONS, (api) => api.transactions);
  add(PRODUCERS, (api) => api.transactions.producers);
  add(SHARE, (api) => api.share);
  return services.stream(WATCH_STATUS, (_, sink) => watch(sink, { calls, clock }));
}

function serve<Api>(
  services: Services,
  section: Section<Api>,
  { calls, of }: { readonly calls: BrokerCalls; of(api: BrokerGroupApi): Functions },
): void {
  for (const [name, { method, waits }] of entriesOf(section)) {
    const answer = async (args: unknown[], context: CallContext) => {
      const list = Array.isArray(args) ? args : []; // a wrong one fails as a missing argument does
      const given = waits ? Array.from({ length: waits.arity }, (_, index) => list[index]) : list;
      const rest = waits ? [{ signal: context.signal }] : [];
      return await calls.run(effectOf(method, given), (api) => {
        return (of(api)[name] as Functions[string])(...given, ...rest);
      });
    };
    services.call(method, answer);
  }
}

async function watch(
  sink: ItemSink<NodeStatus>,
  { calls, clock }: { readonly calls: BrokerCalls; readonly clock: Clock },
): Promise<void> {
  let last = "";
  while (!sink.signal.aborted) {
    const status = calls.status();
    const told = JSON.stringify(status);
    if (told !== last) await sink.send(status);
    last = told;
    await pause(clock, { ms: STATUS_MS, signal: sink.signal });
  }
}

/**
 * A broker on another node, as if it were here.
 *
 * It keeps the contract of `BrokerApi` with these words of its own: every call may
 * also fail with `unavailable`, `outcome-unknown` or `overloaded` (caller.ts), and
 * `status()` is what was told last.
 *
 * A receive whose caller gives up is ended at the broker, which undoes the leases
 * it had made. Leases that were on their way here by then are given back; with an
 * `attemptId` they are left to the next try of the same attempt, which is given them
 * again.
 *
 * @module
 */

import type {
  BrokerGroupApi,
  CallOptions,
  Delivery,
  GroupsApi,
  MessagesApi,
  NodeStatus,
  ReceiveRequest,
  ShareApi,
  TransactionsApi,
} from "../broker/api.ts";
import type { Clock } from "../../storage/base/clock.ts";
import {
  entriesOf,
  GROUPS,
  MESSAGES,
  type Named,
  PRODUCERS,
  type Section,
  SHARE,
  TOPICS,
  TRANSACTIONS,
  WATCH_STATUS,
} from "./broker_methods.ts";
import { type Caller, CALL_TIMEOUT_MS, type Subscriber } from "./caller.ts";
import { pause } from "./pause.ts";

/** What is known of a node that has not said anything yet. */
const SILENT: NodeStatus = {
  nodeId: "",
  group: "",
  ready: false,
  epoch: 0,
  durableEnd: 0,
  confirmOffset: 0,
  clockSkewMs: 0,
  disk: "ample",
  damaged: [],
};

/** Between two tries to watch a node's state. */
const WATCH_AGAIN_MS = 1000;

export class RemoteBroker implements BrokerGroupApi {
  readonly topics: BrokerGroupApi["topics"];
  readonly messages: MessagesApi;
  readonly groups: GroupsApi;
  readonly transactions: TransactionsApi;
  readonly share: ShareApi;
  #status = SILENT;

  constructor(caller: Caller) {
    this.topics = remote(caller, TOPICS);
    this.messages = { ...remote<MessagesApi>(caller, MESSAGES), ...publishing(caller) };
    const groups = remote<GroupsApi>(caller, GROUPS);
    this.share = remote<ShareApi>(caller, SHARE);
    const { share } = this;
    this.groups = {
      ...groups,
      receive: (request, options) => receive({ groups, share }, { request, options }),
    };
    const producers = remote<TransactionsApi["producers"]>(caller, PRODUCERS);
    this.transactions = { ...remote<TransactionsApi>(caller, TRANSACTIONS), producers };
  }

  status(): NodeStatus {
    return this.#status;
  }

  /**
   * Keeps {@linkcode RemoteBroker.status} current until `signal` aborts; a node that
   * cannot be heard is not ready.
   */
  async watch(
    subscriber: Subscriber,
    { clock, signal }: { readonly clock: Clock; readonly signal: AbortSignal },
  ): Promise<void> {
    while (!signal.aborted) {
      try {
        for await (const status of subscriber.subscribe(WATCH_STATUS, undefined, { signal })) {
          this.#status = status;
        }
      } catch {
        // Whatever it was, the node is not heard; that is said, and it is tried again.
      }
      this.#status = { ...this.#status, ready: false };
      await pause(clock, { ms: WATCH_AGAIN_MS, signal });
    }
  }
}

function remote<Api>(caller: Caller, section: Section<Api>): Named<Api> {
  const functions: Record<string, (...args: unknown[]) => Promise<unknown>> = {};
  for (const [name, { method, waits }] of entriesOf(section)) {
    functions[name] = (...args) => {
      if (!waits) return caller.call(method, withoutTail(args));
      const given = args.slice(0, waits.arity);
      const signal = (args[waits.arity] as CallOptions | undefined)?.signal;
      const timeoutMs = waits.ms(given) + CALL_TIMEOUT_MS;
      return caller.call(method, given, { signal, timeoutMs });
    };
  }
  return functions as Named<Api>;
}

/** JSON would make null of arguments that are left out. */
function withoutTail(args: unknown[]): unknown[] {
  return args.slice(0, args.findLastIndex((arg) => arg !== undefined) + 1);
}

/** The two that are called most, without a detour. */
function publishing(caller: Caller): Pick<MessagesApi, "publish" | "publishBatch"> {
  const { publish, publishBatch } = MESSAGES;
  return {
    publish: (topic, message) => caller.call(publish.method, [topic, message]),
    publishBatch: (topic, messages, options) =>
      caller.call(publishBatch.method, [topic, messages, options]),
  };
}

async function receive(
  { groups, share }: { readonly groups: Pick<GroupsApi, "receive">; readonly share: ShareApi },
  call: { readonly request: ReceiveRequest; readonly options: CallOptions | undefined },
): Promise<readonly Delivery[]> {
  const { request, options } = call;
  const given = await groups.receive(request, options);
  if (!options?.signal?.aborted || given.length === 0) return given;
  if (request.attemptId !== undefined) return [];
  try {
    await share.giveBack(
      request.group,
      given.map(({ receipt }) => receipt),
    );
  } catch {
    // They end by themselves when their time is up.
  }
  return [];
}

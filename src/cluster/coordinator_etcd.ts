/**
 * The coordinator of a cluster, in etcd.
 *
 *   <prefix>state/<group>                 one broker group: group_state.ts
 *   <prefix>live/<group>/<node>           a member that lives; goes with its lease
 *   <prefix>definitions/<kind>/<name>
 *   <prefix>generation                    the last one given
 *
 * A swap compares the revision at which the state was last changed, and the
 * values of the live keys it rests on, in the transaction that makes it.
 *
 * The lease is ours to judge: etcd may count it longer, never shorter, so the
 * deadline is counted from when a keep-alive was sent (lease.ts). A keep-alive
 * that finds the lease gone grants another and says so.
 *
 * @module
 */

import type { Clock } from "../../storage/base/clock.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import type {
  Coordinator,
  DecidedOutcome,
  Definition,
  DefinitionChange,
  DefinitionKind,
  DefinitionPage,
  Liveness,
  LivenessEvents,
} from "./coordinator.ts";
import type { Sighting, Swap } from "./effects.ts";
import { type Compare, endOfPrefix, type EtcdClient, type Operation } from "./etcd_client.ts";
import { EtcdLiveness } from "./etcd_liveness.ts";
import {
  decodeGroupState,
  encodeGroupState,
  type GroupState,
  isMember,
  type Member,
  sameBoot,
} from "./group_state.ts";

const REWATCH_MS = 500;
/** So many others may take the next number at the same time. */
const GENERATION_TRIES = 50;

export class EtcdCoordinator implements Coordinator {
  readonly #client: EtcdClient;
  readonly #clock: Clock;
  readonly #prefix: string;
  readonly #ends = new Set<() => void>();

  /** @param options.cluster names all keys; a cluster sees no other's. */
  constructor(client: EtcdClient, options: { readonly clock: Clock; readonly cluster: string }) {
    this.#client = client;
    this.#clock = options.clock;
    this.#prefix = `/tidegate/${options.cluster}/`;
  }

  #stateKey(group: string): string {
    return `${this.#prefix}state/${group}`;
  }

  #liveKey(group: string, node: string): string {
    return `${this.#prefix}live/${group}/${node}`;
  }

  async look(group: string): Promise<Sighting> {
    const livePrefix = this.#liveKey(group, "");
    const [states, live] = await this.#client.read([
      { get: this.#stateKey(group) },
      { get: livePrefix, end: endOfPrefix(livePrefix) },
    ]);
    const found = states?.[0];
    const state = found && decodeGroupState(found.value);
    const members = (live ?? []).map(({ value }) => decodeMember(value));
    return { revision: found?.modRevision ?? 0, state, live: members };
  }

  found(group: string, state: GroupState): Promise<DecidedOutcome> {
    return this.#putState({ group, state, compare: [], revision: 0 });
  }

  async swap(group: string, { revision, state, alive, gone }: Swap): Promise<DecidedOutcome> {
    const compare: Compare[] = alive.map((member) => ({
      key: this.#liveKey(group, member.node),
      value: encodeMember(member),
    }));
    if (gone) {
      const absence = await this.#isGone(group, gone);
      if (!absence) return { kind: "changed" };
      compare.push(absence);
    }
    return this.#putState({ group, state, compare, revision });
  }

  /** What must stay as it is for the member to stay gone; undefined when it lives. */
  async #isGone(group: string, member: Member): Promise<Compare | undefined> {
    const key = this.#liveKey(group, member.node);
    const [found] = await this.#client.read([{ get: key }]);
    const held = found?.[0];
    if (!held) return { key, modRevision: 0 };
    if (sameBoot(decodeMember(held.value), member)) return undefined;
    return { key, modRevision: held.modRevision };
  }

  #putState(change: {
    readonly group: string;
    readonly state: GroupState;
    readonly compare: readonly Compare[];
    readonly revision: number;
  }): Promise<DecidedOutcome> {
    const key = this.#stateKey(change.group);
    const compare = [...change.compare, { key, modRevision: change.revision }];
    return this.#decide(compare, { put: key, value: encodeGroupState(change.state) });
  }

  async #decide(compare: readonly Compare[], operation: Operation): Promise<DecidedOutcome> {
    const { succeeded, revision } = await this.#client.txn(compare, [operation]);
    return succeeded ? { kind: "done", revision } : { kind: "changed" };
  }

  live(group: string, member: Member, events: LivenessEvents): Liveness {
    const key = this.#liveKey(group, member.node);
    const value = encodeMember(member);
    const liveness = new EtcdLiveness(this.#client, { clock: this.#clock, key, value, events });
    const stop = () => liveness.stop();
    this.#ends.add(stop);
    return {
      end: () => {
        this.#ends.delete(stop);
        return liveness.end();
      },
    };
  }

  watch(group: string, onHint: () => void): () => void {
    const key = this.#stateKey(group);
    const livePrefix = this.#liveKey(group, "");
    const ends = [
      this.#watch({ key, end: `${key}\0` }, onHint),
      this.#watch({ key: livePrefix, end: endOfPrefix(livePrefix) }, onHint),
    ];
    return () => {
      for (const end of ends) end();
    };
  }

  /** Watches until told to stop, and begins anew when a watch ends. */
  #watch(range: { readonly key: string; readonly end: string }, onHint: () => void): () => void {
    let stopped = false;
    let cancel: () => void = () => {};
    const begin = () => {
      cancel = this.#client.watch(range, {
        onHint: () => !stopped && onHint(),
        onEnd: () => {
          if (!stopped) cancel = this.#clock.after(REWATCH_MS, begin);
        },
      });
    };
    const end = () => {
      stopped = true;
      cancel();
      this.#ends.delete(end);
    };
    this.#ends.add(end);
    begin();
    return end;
  }

  #definitionKey(kind: DefinitionKind, name: string): string {
    return `${this.#prefix}definitions/${kind}/${name}`;
  }

  async definition(kind: DefinitionKind, name: string): Promise<Definition> {
    const [found] = await this.#client.read([{ get: this.#definitionKey(kind, name) }]);
    const { value = "", modRevision: revision = 0 } = found?.[0] ?? {};
    return { name, value, revision };
  }

  async definitions({ kind, after, limit }: DefinitionPage): Promise<readonly Definition[]> {
    const prefix = this.#definitionKey(kind, "");
    const get = after === "" ? prefix : `${prefix}${after}\0`;
    const [found] = await this.#client.read([{ get, end: endOfPrefix(prefix), limit }]);
    return (found ?? []).map(({ key, value, modRevision }) => {
      return { name: key.slice(prefix.length), value, revision: modRevision };
    });
  }

  define({ kind, name, value, revision }: DefinitionChange): Promise<DecidedOutcome> {
    const key = this.#definitionKey(kind, name);
    const operation = value === undefined ? { remove: key } : { put: key, value };
    return this.#decide([{ key, modRevision: revision }], operation);
  }

  watchDefinitions(kind: DefinitionKind, onHint: () => void): () => void {
    const prefix = this.#definitionKey(kind, "");
    return this.#watch({ key: prefix, end: endOfPrefix(prefix) }, onHint);
  }

  async nextGeneration(): Promise<number> {
    const key = `${this.#prefix}generation`;
    for (let tries = 0; tries < GENERATION_TRIES; tries++) {
      const [found] = await this.#client.read([{ get: key }]);
      const held = found?.[0];
      const next = Number(held?.value ?? 0) + 1;
      const compare = [{ key, modRevision: held?.modRevision ?? 0 }];
      const outcome = await this.#decide(compare, { put: key, value: String(next) });
      if (outcome.kind === "done") return next;
    }
    const detail = "Cannot take a generation: too many others do";
    throw new TidegateError("outcome-unknown", detail);
  }

  async close(): Promise<void> {
    for (const end of [...this.#ends]) end();
    this.#client.close();
  }
}

function encodeMember({ node, boot, disk }: Member): string {
  return JSON.stringify({ node, boot, disk });
}

function decodeMember(text: string): Member {
  const value: unknown = JSON.parse(text);
  if (isMember(value)) return value;
  throw new TidegateError("data-damaged", "Cannot read a live node: it is no member");
}

/**
 * Where the nodes of a cluster are found, and which number each broker group has.
 *
 *   definition       name        value
 *   node             the node    {"format":1,"group":"orders","address":"10.0.0.7:9870"}
 *   broker-group     "00001" …   {"format":1,"group":"orders"}
 *
 * A node announces itself before it takes part, and its entry stays while it is
 * down: that it lives, and who leads, says the group's state. A name is one node's
 * for all time, and of one group.
 *
 * The number stands in cursors, receipts and ids, so it is never given again. Each
 * is a key of its own, made once: those that found groups at the same time ask for
 * the same lowest number, and all but one look again. 0 is the node that is alone.
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";
import type { Coordinator, Definition, DefinitionKind } from "./coordinator.ts";
import type { Sighting } from "./effects.ts";
import { sameBoot } from "./group_state.ts";

export interface NodeView {
  readonly node: string;
  /** `host:port` of its RPC, as others reach it. */
  readonly address: string;
  /** Holds a lease, as far as the coordinator knows. */
  readonly live: boolean;
}

export interface GroupView {
  readonly group: string;
  /** Unique in the cluster, for all time; 1 to 65,535. */
  readonly number: number;
  /** Of its state; 0 before the first election. */
  readonly epoch: number;
  /** Whom the state names; it may be gone, and then there will soon be another. */
  readonly leader: NodeView | undefined;
  /** All nodes that ever announced themselves in it, in order of name. */
  readonly members: readonly NodeView[];
}

export interface NodeEntry {
  readonly node: string;
  readonly group: string;
  readonly address: string;
}

const FORMAT = 1;
const PAGE = 500;
const NUMBER_MAX = 0xffff;
/** So many others may do the same at the same time. */
const TRIES = 50;

export class Directory {
  readonly #coordinator: Coordinator;

  constructor(coordinator: Coordinator) {
    this.#coordinator = coordinator;
  }

  /**
   * All broker groups, in order of their numbers.
   *
   * @throws `outcome-unknown` when the coordinator does not answer.
   */
  async groups(): Promise<readonly GroupView[]> {
    const [numbers, nodes] = await Promise.all([this.#numbers(), this.#nodes()]);
    const views = [...numbers].map(async ([group, number]) => {
      const entries = nodes.filter((entry) => entry.group === group);
      return viewOf({ group, number, entries, sighting: await this.#coordinator.look(group) });
    });
    return await Promise.all(views);
  }

  /**
   * The nodes of one group, wherever they are.
   *
   * @throws `outcome-unknown`
   */
  async nodesOf(group: string): Promise<readonly NodeEntry[]> {
    return (await this.#nodes()).filter((entry) => entry.group === group);
  }

  /**
   * Says where a node is found. Its name must not be of another group.
   *
   * @throws `outcome-unknown`, `validation-failed`
   */
  async announce(entry: NodeEntry): Promise<void> {
    const { node, group, address } = entry;
    const value = JSON.stringify({ format: FORMAT, group, address });
    for (let tries = 0; tries < TRIES; tries++) {
      const held = await this.#coordinator.definition("node", node);
      if (held.value === value) return;
      const other = held.revision > 0 ? nodeOf(held).group : group;
      if (other !== group) throw misplaced(entry, other);
      const change = { kind: "node", name: node, value, revision: held.revision } as const;
      if ((await this.#coordinator.define(change)).kind === "done") return;
    }
    throw contended(`announce the node "${node}"`);
  }

  /**
   * The number of a group; one that has none is given one.
   *
   * @throws `outcome-unknown`
   */
  async number(group: string): Promise<number> {
    for (let tries = 0; tries < TRIES; tries++) {
      const numbers = await this.#numbers();
      const own = numbers.get(group);
      if (own !== undefined) return own;
      const free = lowestFree(new Set(numbers.values()));
      const value = JSON.stringify({ format: FORMAT, group });
      const change = { kind: "broker-group", name: nameOf(free), value, revision: 0 } as const;
      if ((await this.#coordinator.define(change)).kind === "done") return free;
    }
    throw contended(`number the broker group "${group}"`);
  }

  /**
   * Calls back when what {@linkcode Directory.groups} tells may have changed. A hint
   * may be lost while the coordinator is away: look now and then all the same.
   */
  watch(onHint: () => void): () => void {
    const ends: (() => void)[] = [];
    const followed = new Set<string>();
    let stopped = false;
    const follow = async () => {
      for (const group of (await this.#numbers()).keys()) {
        if (stopped || followed.has(group)) continue;
        followed.add(group);
        ends.push(this.#coordinator.watch(group, hint));
      }
    };
    const tell = () => {
      if (!stopped) onHint();
    };
    const hint = () => {
      if (!stopped) follow().then(tell, tell); // whoever looks now finds out that it is away
    };
    ends.push(this.#coordinator.watchDefinitions("broker-group", hint));
    ends.push(this.#coordinator.watchDefinitions("node", hint));
    hint();
    return () => {
      stopped = true;
      for (const end of ends) end();
    };
  }

  /** Calls back when nodes may have come, or may be found elsewhere. */
  watchNodes(onHint: () => void): () => void {
    return this.#coordinator.watchDefinitions("node", onHint);
  }

  async #numbers(): Promise<Map<string, number>> {
    const numbers = new Map<string, number>();
    for (const { name, value } of await this.#all("broker-group")) {
      const { group } = record(value, name);
      if (typeof group !== "string") throw damaged(name);
      if (!numbers.has(group)) numbers.set(group, Number(name));
    }
    return numbers;
  }

  async #nodes(): Promise<readonly NodeEntry[]> {
    return (await this.#all("node")).map(nodeOf);
  }

  async #all(kind: DefinitionKind): Promise<readonly Definition[]> {
    const all: Definition[] = [];
    for (;;) {
      const after = all.at(-1)?.name ?? "";
      const page = await this.#coordinator.definitions({ kind, after, limit: PAGE });
      all.push(...page);
      if (page.length < PAGE) return all;
    }
  }
}

function viewOf(parts: {
  readonly group: string;
  readonly number: number;
  readonly entries: readonly NodeEntry[];
  readonly sighting: Sighting;
}): GroupView {
  const { group, number, sighting } = parts;
  const { state, live } = sighting;
  const members = parts.entries.map(({ node, address }) => {
    return { node, address, live: live.some((member) => member.node === node) };
  });
  const { leader } = state ?? {};
  const leads = members.find(({ node }) => node === leader?.node);
  const lives = live.some((member) => sameBoot(member, leader));
  return {
    group,
    number,
    epoch: state?.epoch ?? 0,
    leader: leads && { ...leads, live: lives },
    members,
  };
}

function nameOf(number: number): string {
  return String(number).padStart(5, "0");
}

function lowestFree(taken: ReadonlySet<number>): number {
  for (let number = 1; number <= NUMBER_MAX; number++) if (!taken.has(number)) return number;
  const detail = "Cannot number the broker group: all numbers are taken";
  throw new TidegateError("overloaded", detail, { limit: NUMBER_MAX });
}

function nodeOf({ name: node, value }: Definition): NodeEntry {
  const { group, address } = record(value, node);
  if (typeof group !== "string" || typeof address !== "string") throw damaged(node);
  return { node, group, address };
}

function record(value: string, name: string): Record<string, unknown> {
  let read: unknown;
  try {
    read = JSON.parse(value);
  } catch (error) {
    throw damaged(name, error);
  }
  if (typeof read !== "object" || read === null) throw damaged(name);
  return read as Record<string, unknown>;
}

function damaged(name: string, cause?: unknown): TidegateError {
  const detail = `Cannot read the entry "${name}" of the directory`;
  return new TidegateError("data-damaged", detail, { entry: name }, cause);
}

function misplaced({ node, group }: NodeEntry, other: string): TidegateError {
  const detail = `Cannot announce the node "${node}" in the group "${group}": it is of "${other}"`;
  return new TidegateError("validation-failed", detail, { node, group: other });
}

function contended(what: string): TidegateError {
  return new TidegateError("outcome-unknown", `Cannot ${what}: too many others do`);
}

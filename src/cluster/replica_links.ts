/**
 * The lines from this node to the others of its broker group: messages leave over
 * them and are forgotten.
 *
 * Each line is bounded in messages and in bytes under way; what does not fit is
 * dropped, as if the network had lost it, for the core asks again. Of fetches only
 * the newest is of any use: a few are under way, one waits, and a newer one takes
 * its place.
 *
 * A line that answers nothing for the time of a message is made anew: after a
 * partition the old one may hang for many seconds. So is one that rests between
 * two tries when its node is heard of, or something is to be said to it: members that
 * follow have nothing to say to each other until one of them runs, and then at once.
 *
 * @module
 */

import type { Clock } from "../../storage/base/clock.ts";
import type { Peer } from "../rpc/mod.ts";
import type { Began, Message } from "./messages.ts";
import { BEGAN, MESSAGE_METHODS } from "./replica_methods.ts";

export type LinkPeer = Pick<Peer, "call" | "subscribe" | "open" | "close" | "isOpen" | "isResting">;

/** Where a node is found. */
export interface LinkEntry {
  readonly node: string;
  readonly address: string;
}

export interface LinksPorts {
  readonly clock: Clock;
  connect(entry: LinkEntry): LinkPeer;
}

/** A message that is not taken by then is lost. */
const MESSAGE_MS = 2000;
const MESSAGES_MAX = 64;
const BYTES_MAX = 8 * 1024 * 1024;
const FETCHES_MAX = 4;
/** A line is made anew at most this often. */
const RENEW_MS = 300;

class Link {
  readonly address: string;
  readonly #connect: () => LinkPeer;
  readonly #clock: Clock;
  #peer: LinkPeer;
  #madeAt: number;
  #answeredAt: number;
  #messages = 0;
  #bytes = 0;
  #fetches = 0;
  #waiting: Message | undefined;
  #closed = false;

  constructor(entry: LinkEntry, ports: LinksPorts) {
    this.address = entry.address;
    this.#clock = ports.clock;
    this.#connect = () => ports.connect(entry);
    this.#peer = this.#connect();
    this.#peer.open();
    this.#madeAt = this.#clock.elapsed();
    this.#answeredAt = this.#madeAt;
  }

  get peer(): LinkPeer {
    return this.#peer;
  }

  send(message: Message): void {
    const size = sizeOf(message);
    const full = this.#messages >= MESSAGES_MAX || this.#bytes + size > BYTES_MAX;
    if (this.#closed || (full && this.#messages > 0)) return;
    if (this.#peer.isResting) this.renew();
    if (message.kind === "fetch" && this.#fetches >= FETCHES_MAX) this.#waiting = message;
    else void this.#pass(message, size);
  }

  async #pass(message: Message, size: number): Promise<void> {
    const fetches = message.kind === "fetch" ? 1 : 0;
    const [peer, sentAt] = [this.#peer, this.#clock.elapsed()];
    this.#messages++;
    this.#bytes += size;
    this.#fetches += fetches;
    try {
      await peer.call(MESSAGE_METHODS[message.kind], message, { timeoutMs: MESSAGE_MS });
      this.#answeredAt = this.#clock.elapsed();
    } catch {
      // Lost, or said to be: the core asks again. A line on which all is lost is no good.
      const silent = this.#answeredAt < sentAt && this.#clock.elapsed() - sentAt >= MESSAGE_MS;
      if (silent && peer === this.#peer) this.renew();
    }
    this.#messages--;
    this.#bytes -= size;
    this.#fetches -= fetches;
    if (fetches === 1) this.#next();
  }

  #next(): void {
    const fetch = this.#waiting;
    this.#waiting = undefined;
    if (fetch) this.send(fetch);
  }

  renew(): void {
    const now = this.#clock.elapsed();
    if (this.#closed || now - this.#madeAt < RENEW_MS) return;
    this.#madeAt = now;
    this.#peer.close();
    this.#peer = this.#connect();
    this.#peer.open();
  }

  close(): void {
    this.#closed = true;
    this.#peer.close();
  }
}

export class ReplicaLinks {
  readonly #ports: LinksPorts;
  readonly #links = new Map<string, Link>();

  constructor(ports: LinksPorts) {
    this.#ports = ports;
  }

  /** Those that are there now, without this node itself. */
  update(entries: readonly LinkEntry[]): void {
    const nodes = new Set(entries.map(({ node }) => node));
    for (const [node, link] of this.#links) if (!nodes.has(node)) this.#drop(node, link);
    for (const entry of entries) {
      const held = this.#links.get(entry.node);
      if (held?.address === entry.address) continue;
      if (held) this.#drop(entry.node, held);
      this.#links.set(entry.node, new Link(entry, this.#ports));
    }
  }

  /** Lets a message go; it may be lost. */
  send(to: string, message: Message): void {
    this.#links.get(to)?.send(message);
  }

  /** Tells all others; some may not hear it. */
  tell(began: Began): void {
    for (const { peer } of this.#links.values()) {
      if (peer.isOpen) peer.call(BEGAN, began, { timeoutMs: MESSAGE_MS }).catch(() => {});
    }
  }

  /** A node has spoken: it can be reached, if anybody tries. */
  heard(node: string): void {
    const link = this.#links.get(node);
    if (link && !link.peer.isOpen) link.renew();
  }

  peer(node: string): LinkPeer | undefined {
    return this.#links.get(node)?.peer;
  }

  close(): void {
    for (const [node, link] of this.#links) this.#drop(node, link);
  }

  #drop(node: string, link: Link): void {
    this.#links.delete(node);
    link.close();
  }
}

function sizeOf(message: Message): number {
  return "bytes" in message && message.bytes instanceof Uint8Array ? message.bytes.length : 0;
}

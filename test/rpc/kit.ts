/**
 * What the tests of the RPC share: a server and a peer on one clock, joined by
 * pipes in memory.
 *
 * @module
 */

import { crc32 } from "../../storage/base/checksum_node.ts";
import { ManualClock } from "../../storage/base/clock_manual.ts";
import { hmac } from "../../storage/base/hmac_node.ts";
import { Prng } from "../../storage/base/prng.ts";
import {
  type CallMethod,
  type Dial,
  json,
  type Limits,
  Peer,
  type PeerOptions,
  RpcServer,
  type ServerOptions,
  Services,
  type StreamMethod,
} from "../../src/rpc/mod.ts";
import { Pipe, type PipeOptions } from "../fakes/rpc_pipe.ts";

export const SECRET = Uint8Array.from({ length: 32 }, (_, i) => i);

export interface Echo {
  readonly text: string;
}

/** What it is told; never run twice by itself. */
export const ECHO: CallMethod<Echo, Echo> = {
  kind: "call",
  id: 60_000,
  name: "test.echo",
  about: "What it is told",
  effect: "once",
  request: json(),
  response: json(),
};

/** The same, without an effect. */
export const READ: CallMethod<Echo, Echo> = {
  ...ECHO,
  id: 60_001,
  name: "test.read",
  effect: "none",
};

/** The same, and twice is once. */
export const WRITE: CallMethod<Echo, Echo> = {
  ...ECHO,
  id: 60_003,
  name: "test.write",
  effect: "idempotent",
};

/** Numbers from 0 on, each with so many bytes of text. */
export const COUNT: StreamMethod<{ to: number; bytes: number }, { n: number; text: string }> = {
  kind: "stream",
  id: 60_002,
  name: "test.count",
  about: "Numbers",
  request: json(),
  item: json(),
};

export interface WorldOptions {
  readonly pipe?: PipeOptions;
  readonly limits?: Partial<Limits>;
  readonly peer?: Partial<PeerOptions>;
  readonly server?: Partial<ServerOptions>;
}

/** One server, one peer, and the pipes that were made between them. */
export class World {
  readonly clock = new ManualClock();
  readonly services = new Services();
  readonly server: RpcServer;
  readonly peer: Peer;
  readonly pipes: Pipe[] = [];
  readonly logged: string[] = [];
  /** When false, who dials finds nobody. */
  listening = true;
  readonly #options: WorldOptions;
  readonly #prng = new Prng(7);

  constructor(options: WorldOptions = {}) {
    this.#options = options;
    const { limits } = options;
    const log = (_level: string, message: string, fields: object = {}) =>
      void this.logged.push(`${message} ${JSON.stringify(fields)}`);
    const self = { cluster: "c", node: "broker-1", secret: SECRET };
    this.server = new RpcServer(
      { ...this.ports, log },
      { self, services: this.services, limits, ...options.server },
    );
    this.peer = new Peer(
      { ...this.ports, dial: this.dial },
      {
        self: { cluster: "c", node: "gateway-1", secret: SECRET },
        expects: { authenticated: false },
        limits,
        ...options.peer,
      },
    );
  }

  get ports() {
    const entropy = (size: number) =>
      Uint8Array.from({ length: size }, () => this.#prng.below(256));
    return { clock: this.clock, crc32, hmac, entropy };
  }

  /** The pipe made last. */
  get pipe(): Pipe {
    return this.pipes.at(-1) as Pipe;
  }

  readonly dial: Dial = (events) => {
    const pipe = new Pipe(this.#options.pipe);
    this.pipes.push(pipe);
    pipe.client.events = events;
    if (this.listening) {
      pipe.server.events = this.server.accept(pipe.server, { authenticated: false, from: "pipe" });
    } else pipe.break();
    return pipe.client;
  };
}

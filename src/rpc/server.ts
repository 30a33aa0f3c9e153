/**
 * All connections of a node that serves calls.
 *
 *   accept ──▶ shaking hands (a bounded number) ──▶ open (a bounded number)
 *   drain      a goaway to each; new ones are refused; resolves when all calls
 *              are answered and all connections closed
 *   close      at once
 *
 * @module
 */

import type { Log } from "../../storage/base/logger.ts";
import type { Carrier, CarrierEvents } from "./carrier.ts";
import type { ConversationPorts } from "./conversation.ts";
import {
  type Credentials,
  type HandshakePorts,
  type Identity,
  ServerHandshake,
} from "./handshake.ts";
import { LIMITS, type Limits } from "./limits.ts";
import type { Services } from "./method.ts";
import { ServerConnection } from "./server_connection.ts";

export interface ServerPorts extends ConversationPorts, HandshakePorts {
  readonly log: Log;
}

export interface ServerOptions {
  readonly self: Identity & Credentials;
  readonly services: Services;
  readonly limits?: Partial<Limits> | undefined;
  /** Connections at once; 1,000 when absent. */
  readonly connectionsMax?: number | undefined;
  /** Of them, those that have not said who they are; 64 when absent. */
  readonly strangersMax?: number | undefined;
}

export class RpcServer {
  readonly #ports: ServerPorts;
  readonly #options: ServerOptions;
  readonly #limits: Limits;
  readonly #connections = new Set<ServerConnection>();
  #strangers = 0;
  #draining = false;
  #drained: (() => void) | undefined;

  constructor(ports: ServerPorts, options: ServerOptions) {
    this.#ports = ports;
    this.#options = options;
    this.#limits = { ...LIMITS, ...options.limits };
  }

  get connectionCount(): number {
    return this.#connections.size;
  }

  /** Calls under way, on all connections. */
  get callCount(): number {
    return [...this.#connections].reduce((sum, { callCount }) => sum + callCount, 0);
  }

  /**
   * A connection came in.
   *
   * @param options.authenticated the transport has proven who is there.
   * @param options.from for the log.
   * @returns what the carrier is to tell of it.
   */
  accept(
    carrier: Carrier,
    { authenticated, from }: { readonly authenticated: boolean; readonly from: string },
  ): CarrierEvents {
    const { self, services, connectionsMax = 1000, strangersMax = 64 } = this.#options;
    const handshake = new ServerHandshake(self, { authenticated }, this.#ports);
    const wish = { handshake, limits: this.#limits, services };
    let isStranger = true;
    const meet = () => {
      if (isStranger) this.#strangers--;
      isStranger = false;
    };
    const connection: ServerConnection = new ServerConnection(this.#ports, wish, {
      onOpen: meet,
      onEnded: (reason) => {
        if (isStranger) this.turnedAway(from, reason);
        meet();
        this.#forget(connection);
      },
      onFault: (method, error) => {
        const told = error instanceof Error ? (error.stack ?? error.message) : String(error);
        this.#ports.log("error", "A call failed", { method, error: told });
      },
    });
    this.#strangers++;
    this.#connections.add(connection);
    connection.begin(carrier);
    const full = this.#connections.size > connectionsMax || this.#strangers > strangersMax;
    if (full || this.#draining) connection.refuse("busy");
    return connection;
  }

  /** Somebody did not get as far as a conversation, or not through its beginning. */
  turnedAway(from: string, reason: string): void {
    this.#ports.log("warn", "A stranger was turned away", { from, reason });
  }

  /** Takes no new call; resolves when those under way are answered. */
  drain(): Promise<void> {
    this.#draining = true;
    const drained = new Promise<void>((resolve) => {
      this.#drained = resolve;
    });
    for (const connection of [...this.#connections]) connection.drain();
    if (this.#connections.size === 0) this.#drained?.();
    return drained;
  }

  /** Ends all connections at once; new ones may come. */
  end(reason: string): void {
    for (const connection of [...this.#connections]) connection.end(reason);
  }

  /** Ends everything. */
  close(): void {
    this.#draining = true;
    this.end("the server was closed");
  }

  #forget(connection: ServerConnection): void {
    this.#connections.delete(connection);
    if (this.#connections.size === 0) this.#drained?.();
  }
}

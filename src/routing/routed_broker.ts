/**
 * A cluster's broker groups as one broker.
 *
 *   BrokerApi ─▶ which definition, which broker group ─▶ its leader's BrokerApi ─▶ one answer
 *
 * It keeps the contract of `BrokerApi` and has no state of its own but what it remembers:
 * any gateway can answer any request. What it cannot promise over several broker groups is
 * refused by name (`not-implemented`), and what is less is told where it is made:
 * the order of a topic (read.ts), bounds of a receive (receive.ts), definitions (copies.ts).
 *
 * @module
 */

import type { BrokerApi, NodeStatus } from "../broker/api.ts";
import { Cluster } from "./cluster.ts";
import { groupsApi } from "./groups.ts";
import { get, recall, search, trace } from "./lookups.ts";
import type { RoutedOptions, RoutedPorts } from "./ports.ts";
import { Publisher } from "./publish.ts";
import { read } from "./read.ts";
import { topicsApi } from "./topics.ts";
import { transactionsApi } from "./transactions.ts";

export class RoutedBroker implements BrokerApi {
  readonly topics: BrokerApi["topics"];
  readonly messages: BrokerApi["messages"];
  readonly groups: BrokerApi["groups"];
  readonly transactions: BrokerApi["transactions"];
  readonly #cluster: Cluster;
  readonly #nodeId: string;

  constructor(ports: RoutedPorts, options: RoutedOptions) {
    const cluster = new Cluster(ports, options);
    const publisher = new Publisher(cluster);
    this.#cluster = cluster;
    this.#nodeId = options.nodeId;
    this.topics = topicsApi(cluster);
    this.messages = {
      publish: (topic, message) => publisher.publish(topic, message),
      publishBatch: (topic, messages, how) => publisher.publishBatch(topic, messages, how),
      read: (request, how) => read(cluster, { request, options: how }),
      get: (name, id) => get(cluster, { name, id }),
      recall: (name, id) => recall(cluster, { name, id }),
      search: (request) => search(cluster, request),
      trace: (request) => trace(cluster, request),
    };
    this.groups = groupsApi(cluster);
    this.transactions = transactionsApi(cluster);
  }

  status(): NodeStatus {
    return {
      nodeId: this.#nodeId,
      group: "",
      ready: !this.#cluster.isDraining,
      epoch: 0,
      durableEnd: 0,
      confirmOffset: 0,
      clockSkewMs: 0,
      damaged: [],
      disk: "ample",
      cluster: this.#cluster.members.status(),
    };
  }

  /** Ends all waits, as if their time was up; those that come return at once. */
  drain(): void {
    this.#cluster.drain();
  }

  /** No call may follow. */
  close(): void {
    this.#cluster.close();
  }
}

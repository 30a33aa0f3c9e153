/**
 * The door of the cluster room.
 *
 * @module
 */

export { BrokerNode } from "./broker_node.ts";
export type {
  Coordinator,
  Definition,
  DefinitionChange,
  DefinitionKind,
  DefinitionPage,
  Liveness,
  LivenessEvents,
} from "./coordinator.ts";
export { EmbeddedCoordinator } from "./coordinator_embedded.ts";
export { EtcdCoordinator } from "./coordinator_etcd.ts";
export { Directory, type GroupView, type NodeEntry, type NodeView } from "./directory.ts";
export type {
  Effect,
  LogRange,
  Promised,
  ReplicaEvent,
  Restored,
  Sighting,
  Swap,
  SwapOutcome,
} from "./effects.ts";
export { TICK_MS } from "./effects.ts";
export type { EpochStart } from "./epoch_table.ts";
export { EtcdClient, type EtcdCredentials } from "./etcd_client.ts";
export { foundingState, type GroupState, type Member } from "./group_state.ts";
export type { Message } from "./messages.ts";
export type { NodeBroker, NodeLog } from "./node_log.ts";
export type { LogReplacement, NodeOptions, NodePorts, NodeState } from "./node_ports.ts";
export { Replica } from "./replica.ts";
export type { LinkEntry, LinkPeer } from "./replica_links.ts";
export type { ReplicaLog } from "./replica_log.ts";
export { FORCE } from "./replica_methods.ts";

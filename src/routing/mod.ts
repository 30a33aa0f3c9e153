/**
 * The door of the routing room: a cluster's broker groups as one broker.
 *
 * @module
 */

export type {
  CheckRulesPort,
  DefinitionStore,
  RoutedOptions,
  RoutedPorts,
  Routing,
  Stored,
  StoredKind,
} from "./ports.ts";
export { RoutedBroker } from "./routed_broker.ts";

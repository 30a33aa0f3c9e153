/**
 * Known mistakes, to be made on purpose: each is a bug that lost data somewhere,
 * and the simulator must find every one of them (test/sim/cluster_plants.ts).
 * Nothing but a test ever sets one.
 *
 * @module
 */

export interface Plants {
  /** A follower cuts to its own confirmOffset at a new epoch, without proof (KIP-101). */
  readonly cutToConfirm?: boolean;
  /** A change of the SyncStateSet counts before it is known to be made (RocketMQ #5663). */
  readonly assumeSwap?: boolean;
  /** confirmOffset follows the members that are connected, not the set (RocketMQ #6662). */
  readonly confirmConnected?: boolean;
  /** Written counts as synced. */
  readonly ackBeforeSync?: boolean;
  /** A state that is not there means an empty group (NATS #7556). */
  readonly deleteOrphan?: boolean;
  /** The set may shrink below minSync and confirm alone (KIP-966). */
  readonly lastReplica?: boolean;
  /** Members are told apart by node alone, not by boot and disk (KIP-903). */
  readonly anyBoot?: boolean;
  /** What a watch says is believed (etcd #15271). */
  readonly trustWatch?: boolean;
  /** A transfer goes on into the next epoch. */
  readonly spanEpochs?: boolean;
  /** A new leader serves its end before its epoch is confirmed (KIP-207). */
  readonly showEnd?: boolean;
  /** An answer is believed however old the question (Redpanda #18523). */
  readonly trustLateAnswers?: boolean;
  /** The candidate goes on acknowledging the old epoch while it is being elected. */
  readonly noPromise?: boolean;
  /** The promise is not on disk when the election is asked for. */
  readonly promiseInMemory?: boolean;
  /** A member may be elected whatever became of its log. */
  readonly trustRestart?: boolean;
  /** A lease is counted from the answer to its keep-alive, and twice (npm etcd3). */
  readonly leaseFromReply?: boolean;
}

export const NO_PLANTS: Plants = {};

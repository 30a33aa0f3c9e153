/**
 * A binary min-heap on a numeric key, entries in key order; equal keys in no
 * particular order.
 *
 * @module
 */

export class Heap<T> {
  #keys: number[] = [];
  #values: T[] = [];

  get size(): number {
    return this.#keys.length;
  }

  /** The smallest key, or Infinity when empty. */
  get minKey(): number {
    return this.#keys[0] ?? Infinity;
  }

  push(key: number, value: T): void {
    let at = this.#keys.length;
    this.#keys.push(key);
    this.#values.push(value);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if ((this.#keys[parent] as number) <= key) break;
      this.#swap(at, parent);
      at = parent;
    }
  }

  /** Removes and returns the value with the smallest key. */
  pop(): T | undefined {
    const top = this.#values[0];
    const lastKey = this.#keys.pop();
    const lastValue = this.#values.pop();
    if (this.#keys.length === 0 || lastKey === undefined) return top;
    this.#keys[0] = lastKey;
    this.#values[0] = lastValue as T;
    this.#sink();
    return top;
  }

  /** Keeps only the values for which `keep` holds. */
  retain(keep: (value: T, key: number) => boolean): void {
    const keys = this.#keys;
    const values = this.#values;
    this.#keys = [];
    this.#values = [];
    keys.forEach((key, i) => {
      const value = values[i] as T;
      if (!keep(value, key)) return;
      this.#keys.push(key);
      this.#values.push(value);
    });
    for (let at = (this.#keys.length >> 1) - 1; at >= 0; at--) this.#sink(at);
  }

  #sink(from = 0): void {
    const size = this.#keys.length;
    for (let at = from; ; ) {
      const left = 2 * at + 1;
      if (left >= size) return;
      const right = left + 1;
      const keys = this.#keys;
      const child = right < size && (keys[right] as number) < (keys[left] as number) ? right : left;
      if ((keys[at] as number) <= (keys[child] as number)) return;
      this.#swap(at, child);
      at = child;
    }
  }

  #swap(a: number, b: number): void {
    [this.#keys[a], this.#keys[b]] = [this.#keys[b] as number, this.#keys[a] as number];
    [this.#values[a], this.#values[b]] = [this.#values[b] as T, this.#values[a] as T];
  }
}

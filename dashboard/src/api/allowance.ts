// How fast requests of a kind may follow each other, so that the server need not refuse them. Pure.

/** The first `quick` of any window follow each other after `shortMs`, the others after `longMs`. */
export class Allowance {
  #begun: readonly number[] = []
  readonly #quick: number
  readonly #shortMs: number
  readonly #longMs: number
  readonly #windowMs: number

  constructor({ quick, shortMs, longMs, windowMs }: Record<"quick" | "shortMs" | "longMs" | "windowMs", number>) {
    this.#quick = quick
    this.#shortMs = shortMs
    this.#longMs = longMs
    this.#windowMs = windowMs
  }

  /** One begins at `nowMs`. Returns how long the next one has to wait. */
  take(nowMs: number): number {
    this.#begun = [...this.#begun, nowMs].slice(-this.#quick)
    const isQuick = this.#begun.length < this.#quick || nowMs - (this.#begun[0] ?? nowMs) > this.#windowMs
    return isQuick ? this.#shortMs : this.#longMs
  }
}

// Market time between the moments that the server names. The clock of a demo or recorded market runs at a speed of its own, which the
// server names too. The viewer's clock has no part in it. `nowMs` is a moment of performance.now().

/** The server said that it was `marketMs` (at the earliest, since it cuts off parts of a second, and messages take time) at `nowMs`. */
interface Sample {
  readonly marketMs: number
  readonly nowMs: number
}

const KEPT = 16
/** By how much an estimate may differ from a new sample, in real milliseconds, before the clock begins anew. */
const JUMP_MS = 5_000

export class MarketClock {
  #samples: readonly Sample[] = []
  /** The latest moment of an answer that may have been made before it was given. */
  #floor: Sample | null = null
  #speed = 1

  /** Market milliseconds per real millisecond. */
  get speed(): number {
    return this.#speed
  }

  /** The server's clock runs so fast. What another one said before it, at another speed, says nothing about this one. */
  runAt(speed: number): void {
    if (speed === this.#speed) return
    this.#speed = speed
    this.#begin()
  }

  /** The server said so at `nowMs`, or before: its kept answers, and a snapshot of before the connection, carry the moment in which they
   * were made. The clock is then at least there, and does not go back. */
  atLeast(marketMs: number, nowMs: number): void {
    if (Number.isFinite(marketMs) && marketMs > (this.at(nowMs) ?? -Infinity)) this.#floor = { marketMs, nowMs }
  }

  /** The server made this at `nowMs`. */
  observe(marketMs: number, nowMs: number): void {
    if (!Number.isFinite(marketMs)) return
    if (this.#isJump(marketMs, nowMs)) this.#begin()
    this.#samples = [...this.#samples, { marketMs, nowMs }].slice(-KEPT)
  }

  /** Market time at `nowMs`; null before the first sample. The latest of what the samples say, since each of them is a lower bound. */
  at(nowMs: number): number | null {
    const known = this.#floor === null ? this.#samples : [...this.#samples, this.#floor]
    const moments = known.map((sample) => sample.marketMs + (nowMs - sample.nowMs) * this.#speed)
    return moments.length === 0 ? null : Math.max(...moments)
  }

  /** Whether the clock has begun anew elsewhere, as that of a demo does each night. */
  #isJump(marketMs: number, nowMs: number): boolean {
    const expected = this.at(nowMs)
    return expected !== null && Math.abs(marketMs - expected) > JUMP_MS * Math.max(1, this.#speed)
  }

  #begin(): void {
    ;[this.#samples, this.#floor] = [[], null]
  }
}

// Market time between the moments that the server names. The clock of a demo or recorded market runs at a speed of its own, which is
// measured. The viewer's clock has no part in it. `nowMs` is a moment of performance.now().

/** The server said that it was `marketMs` (at the earliest, since it cuts off parts of a second, and messages take time) at `nowMs`. */
interface Sample {
  readonly marketMs: number
  readonly nowMs: number
}

const KEPT = 16
/** Speed is measured over at least so much of both times, so that the parts of a second that are cut off matter little. */
const SPAN_MS = { market: 20_000, real: 1_000 } as const
/** Speeds so near to that of the real market are it. */
const NEAR_ONE = 0.1
/** By how much an estimate may differ from a new sample, in real milliseconds, before the clock begins anew. */
const JUMP_MS = 5_000
/** No clock of a market runs faster than so many times as fast as time. */
const FASTEST = 500

export class MarketClock {
  #samples: readonly Sample[] = []
  /** The latest moment of an answer that may have been made before it was given. */
  #floor: Sample | null = null
  #speed = 1
  #isMeasured = false

  /** Market milliseconds per real millisecond, as far as it has shown. */
  get speed(): number {
    return this.#speed
  }

  /** The server said so at `nowMs`, or before: its kept answers, and a snapshot of before the connection, carry the moment in which they
   * were made. The clock is then at least there, but neither goes back nor takes its speed from it. */
  atLeast(marketMs: number, nowMs: number): void {
    if (Number.isFinite(marketMs) && marketMs > (this.at(nowMs) ?? -Infinity)) this.#floor = { marketMs, nowMs }
  }

  /** The server made this at `nowMs`. */
  observe(marketMs: number, nowMs: number): void {
    if (!Number.isFinite(marketMs)) return
    const isJump = this.#isJump(marketMs, nowMs)
    if (isJump && this.#isSlower(marketMs, nowMs)) [this.#speed, this.#isMeasured] = [1, false]
    if (isJump) this.#floor = null
    this.#samples = [...(isJump ? [] : this.#samples), { marketMs, nowMs }].slice(-KEPT)
    this.#measure()
  }

  /** Market time at `nowMs`; null before the first sample. The latest of what the samples say, since each of them is a lower bound. */
  at(nowMs: number): number | null {
    const known = this.#floor === null ? this.#samples : [...this.#samples, this.#floor]
    const moments = known.map((sample) => sample.marketMs + (nowMs - sample.nowMs) * this.#speed)
    return moments.length === 0 ? null : Math.max(...moments)
  }

  /** Whether the clock has gone on from the last sample and not come as far as it should: it does not run at the speed that was measured. */
  #isSlower(marketMs: number, nowMs: number): boolean {
    const [last, expected] = [this.#samples.at(-1), this.at(nowMs)]
    return last !== undefined && expected !== null && marketMs >= last.marketMs && marketMs < expected
  }

  /** Whether the clock has begun anew elsewhere, as that of a demo does each night. Until its speed has shown itself, any distance ahead may
   * be due to it. */
  #isJump(marketMs: number, nowMs: number): boolean {
    const [first, expected] = [this.#samples[0], this.at(nowMs)]
    if (first === undefined || expected === null) return false
    const fastest = this.#isMeasured ? expected : first.marketMs + (nowMs - first.nowMs) * FASTEST
    const tolerated = JUMP_MS * Math.max(1, this.#speed)
    return marketMs > fastest + tolerated || marketMs < expected - tolerated
  }

  #measure(): void {
    const [first, last] = [this.#samples[0], this.#samples.at(-1)]
    if (first === undefined || last === undefined) return
    const [market, real] = [last.marketMs - first.marketMs, last.nowMs - first.nowMs]
    if (market < SPAN_MS.market || real < SPAN_MS.real) return
    const speed = market / real
    this.#isMeasured = true
    this.#speed = Math.abs(speed - 1) < NEAR_ONE ? 1 : speed
  }
}

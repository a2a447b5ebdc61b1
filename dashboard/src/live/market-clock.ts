// Market time between the moments that the server names. The clock of a demo or recorded market runs at a speed of its own, so the speed is
// measured between two moments. The viewer's clock has no part in it. Pure: every function takes `nowMs`, a moment of performance.now().

/** A moment of the market that was known at `nowMs`. */
interface Sample {
  readonly marketMs: number
  readonly nowMs: number
}

const SPEED_SPAN_MS = 2_000
/** How far an estimate may be ahead of or behind a new sample before the clock begins anew, in real milliseconds. */
const JUMP_MS = 5_000

export class MarketClock {
  #first: Sample | null = null
  #last: Sample | null = null
  #speed = 1

  /** Market milliseconds per real millisecond, as far as it has shown. */
  get speed(): number {
    return this.#speed
  }

  /** The server said that it was `marketMs` when `nowMs` was. */
  observe(marketMs: number, nowMs: number): void {
    const sample = { marketMs, nowMs }
    const expected = this.at(nowMs)
    const isJump = expected !== null && Math.abs(expected - marketMs) > JUMP_MS * Math.max(1, this.#speed)
    if (this.#first === null || marketMs < this.#first.marketMs) this.#first = sample
    else this.#measure(sample)
    if (isJump) this.#first = sample
    this.#last = sample
  }

  #measure(sample: Sample): void {
    if (this.#first === null || sample.nowMs - this.#first.nowMs < SPEED_SPAN_MS) return
    const speed = (sample.marketMs - this.#first.marketMs) / (sample.nowMs - this.#first.nowMs)
    // Delays of the network make a clock of the real market seem a little fast or slow.
    this.#speed = Math.abs(speed - 1) < 0.05 ? 1 : speed
  }

  /** Market time at `nowMs`, ms since the epoch; null before the first sample. */
  at(nowMs: number): number | null {
    return this.#last === null ? null : this.#last.marketMs + (nowMs - this.#last.nowMs) * this.#speed
  }
}

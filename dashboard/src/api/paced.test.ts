import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { Paced, type Refused } from "./paced.ts"

interface Call {
  readonly target: string
  readonly signal: AbortSignal
  readonly end: (refused: Refused) => void
}

let calls: Call[] = []

function pacing(pauseMs: number, quietMs = 0): Paced {
  return new Paced((target, signal) => new Promise((end) => calls.push({ target, signal, end })), pauseMs, quietMs)
}

function targets(): string[] {
  return calls.map((call) => call.target)
}

beforeEach(() => {
  vi.useFakeTimers()
  calls = []
})

afterEach(() => {
  vi.useRealTimers()
})

describe("requests at a bounded pace", () => {
  it("wait until the slider rests, and ask for the newest moment alone", async () => {
    const paced = pacing(0, 400)
    for (let minute = 0; minute < 50; minute += 1) {
      paced.ask(String(minute))
      await vi.advanceTimersByTimeAsync(100)
    }
    expect(targets()).toEqual([])
    await vi.advanceTimersByTimeAsync(400)
    expect(targets()).toEqual(["49"])
  })

  it("abort an older target", async () => {
    const paced = pacing(0)
    paced.ask("a")
    await vi.advanceTimersByTimeAsync(0)
    paced.ask("b")
    await vi.advanceTimersByTimeAsync(0)
    expect(calls[0]?.signal.aborted).toBe(true)
    expect(targets()).toEqual(["a", "b"])
  })

  it("leave a request for the same target to end, and make it anew", async () => {
    const paced = pacing(1000)
    paced.ask("a")
    await vi.advanceTimersByTimeAsync(0)
    paced.ask("a")
    await vi.advanceTimersByTimeAsync(5000)
    expect(targets()).toEqual(["a"])
    calls[0]?.end(null)
    await vi.advanceTimersByTimeAsync(0)
    expect(targets()).toEqual(["a", "a"])
    expect(calls[0]?.signal.aborted).toBe(false)
  })

  it("are no more than one in each pause", async () => {
    const paced = pacing(1000)
    for (let count = 0; count < 35; count += 1) {
      paced.ask(String(count))
      await vi.advanceTimersByTimeAsync(100)
    }
    expect(calls.length).toBe(4)
  })

  it("go on although the viewer's clock is set back", async () => {
    const paced = pacing(1000)
    paced.ask("a")
    await vi.advanceTimersByTimeAsync(0)
    calls[0]?.end(null)
    await vi.advanceTimersByTimeAsync(0)
    vi.setSystemTime(Date.now() - 3_600_000)
    paced.ask("b")
    await vi.advanceTimersByTimeAsync(1000)
    expect(targets()).toEqual(["a", "b"])
  })

  it("obey a refusal, and then ask for what is wanted by then", async () => {
    const paced = pacing(0)
    paced.ask("a")
    await vi.advanceTimersByTimeAsync(0)
    calls[0]?.end(7)
    await vi.advanceTimersByTimeAsync(1000)
    paced.ask("b")
    await vi.advanceTimersByTimeAsync(5999)
    expect(targets()).toEqual(["a"])
    await vi.advanceTimersByTimeAsync(1)
    expect(targets()).toEqual(["a", "b"])
  })

  it("ask again by themselves for a target that was refused", async () => {
    pacing(0).ask("a")
    await vi.advanceTimersByTimeAsync(0)
    calls[0]?.end(3)
    await vi.advanceTimersByTimeAsync(3000)
    expect(targets()).toEqual(["a", "a"])
  })

  it("end when the page no longer wants them", async () => {
    const paced = pacing(0)
    paced.ask("a")
    await vi.advanceTimersByTimeAsync(0)
    paced.ask("a")
    paced.stop()
    calls[0]?.end(null)
    await vi.advanceTimersByTimeAsync(1000)
    expect(targets()).toEqual(["a"])
    expect(calls[0]?.signal.aborted).toBe(true)
  })
})

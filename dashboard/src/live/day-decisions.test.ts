// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import type { Session } from "../api/types.ts"
import { DayDecisions, signalsIn } from "./day-decisions.ts"

const SESSION: Session = {
  day: "2026-03-09",
  open: "2026-03-09T09:30:00-04:00",
  close: "2026-03-09T16:00:00-04:00",
  early_close: false,
  decision_hours: [10, 11, 12, 13, 14, 15],
}
const LINES = '{"status":"computing"}\n{"signal":{"decision_hour":10}}\n{"status":"complete"}\n'
let asked: Request[] = []
let respond: () => Response
let decisions: DayDecisions

beforeEach(() => {
  vi.useFakeTimers()
  asked = []
  respond = () => new Response(LINES)
  decisions = new DayDecisions()
  vi.stubGlobal("fetch", async (request: Request) => {
    asked.push(request)
    await new Promise((resolve) => setTimeout(resolve, 1_000))
    request.signal.throwIfAborted()
    return respond()
  })
})

afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllGlobals()
})

function replays(until = Infinity, { signal } = new AbortController()): ReturnType<DayDecisions["replays"]> {
  return decisions.replays("SPY", SESSION, until, signal)
}

describe("the replays of a day", () => {
  it("are asked for once for all panels, at the same time and soon after", async () => {
    const panels = [replays(), replays(Date.parse("2026-03-10T12:00:00-04:00"))]
    await vi.advanceTimersByTimeAsync(2_000)
    const later = replays()
    for (const panel of [...panels, later]) expect((await panel).data).toEqual([{ decision_hour: 10 }])
    expect(asked.length).toBe(1)
  })

  it("are asked for again after a while, since bars that were missing may have come", async () => {
    const first = replays()
    await vi.advanceTimersByTimeAsync(301_000)
    await first
    const second = replays()
    await vi.advanceTimersByTimeAsync(2_000)
    await second
    expect(asked.length).toBe(2)
  })

  it("that the server refused are asked for again", async () => {
    respond = () => new Response('{"detail":"Too many."}', { status: 429, headers: { "Retry-After": "1" } })
    const refused = replays()
    await vi.advanceTimersByTimeAsync(2_000)
    expect((await refused).failure).toMatchObject({ status: 429 })
    respond = () => new Response(LINES)
    const again = replays()
    await vi.advanceTimersByTimeAsync(2_000)
    expect((await again).data).toHaveLength(1)
  })

  it("go on while one panel waits for them, and end with the last one", async () => {
    const [one, other] = [new AbortController(), new AbortController()]
    const outcomes = [replays(Infinity, one), replays(Infinity, other)].map((panel) => panel.catch(String))
    await vi.advanceTimersByTimeAsync(100)
    one.abort()
    expect(asked[0]?.signal.aborted).toBe(false)
    other.abort()
    expect(asked[0]?.signal.aborted).toBe(true)
    await vi.advanceTimersByTimeAsync(2_000)
    for (const outcome of outcomes) expect(await outcome).toContain("AbortError")
  })

  it("are those of the hours whose decisions are out", async () => {
    const some = replays(Date.parse("2026-03-09T13:04:59-04:00"))
    await vi.advanceTimersByTimeAsync(2_000)
    await some
    expect(new URL(asked[0]?.url ?? "").searchParams.get("to")).toBe("2026-03-09T12:05:00-04:00")
    expect(await replays(Date.parse("2026-03-09T10:00:00-04:00"))).toEqual({ data: [], failure: null })
  })

  it("are in the lines of the answer", () => {
    expect(signalsIn(LINES)).toEqual([{ decision_hour: 10 }])
  })
})

it("the record of a day is asked for anew each time, and once for all who ask at the same time", async () => {
  respond = () => new Response('{"signals":[]}', { headers: { "Content-Type": "application/json" } })
  const ask = (): Promise<unknown> => decisions.record("SPY", SESSION.day, new AbortController().signal)
  const both = [ask(), ask()]
  await vi.advanceTimersByTimeAsync(2_000)
  await Promise.all(both)
  expect(asked.length).toBe(1)
  const later = ask()
  await vi.advanceTimersByTimeAsync(2_000)
  await later
  expect(asked.length).toBe(2)
})

// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { Asking, pauseAfter } from "./asking.ts"
import { at, signalOf, stateOf } from "./fixtures.ts"
import { Live } from "./live.svelte.ts"

const BOARD = { generated_at: at("12:03:00"), market_open: true, next_open: null, best: null }
const SIGNAL = signalOf({ generated_at: at("12:03:00"), as_of: at("12:03:00") })

function json(status: number, body: unknown, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify(body), { status, headers: { "Content-Type": "application/json", ...headers } })
}

let live: Live
let asked: string[]
let board: () => Response
let end: () => void
let asking: Asking

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "Date", "performance"] })
  asked = []
  board = () => json(200, { ...BOARD, signals: [SIGNAL] })
  vi.stubGlobal("fetch", (request: Request) => {
    const path = new URL(request.url).pathname
    asked.push(path)
    return Promise.resolve(path === "/v2/status" ? json(200, { generated_at: at("12:00:00") }) : board())
  })
  live = new Live()
  live.connection = { ...live.connection, state: "open" }
  asking = new Asking(live)
  end = asking.start()
})

afterEach(() => {
  end()
  vi.unstubAllGlobals()
  vi.useRealTimers()
})

function boards(): number {
  return asked.filter((path) => path === "/v2/trading-directions").length
}

function lose(state: "lost" | "refused"): void {
  live.connection = { state, sinceMs: performance.now(), retryAtMs: null, refusal: null }
}

describe("requests about now", () => {
  it("are not made while there are events", async () => {
    await vi.advanceTimersByTimeAsync(120_000)
    expect(boards()).toBe(0)
  })

  it("are made every 15 s while the server refuses the connection, and what they say is current", async () => {
    lose("refused")
    await vi.advanceTimersByTimeAsync(1_000)
    expect(boards()).toBe(1)
    expect(live.of("SPY")).toMatchObject({ isCurrent: true, generatedAt: at("12:03:00") })
    expect(live.polledMs).not.toBeNull()
    await vi.advanceTimersByTimeAsync(60_000)
    expect(boards()).toBe(5)
  })

  it("say at once when there is no answer any more", async () => {
    lose("refused")
    await vi.advanceTimersByTimeAsync(1_000)
    expect(live.polledMs).not.toBeNull()
    board = () => {
      throw new TypeError("network")
    }
    await vi.advanceTimersByTimeAsync(15_000)
    expect(live.polledMs).toBeNull()
    expect(live.failure).toMatchObject({ status: 0 })
  })

  it("do not put an answer over what events have said since it was asked for", async () => {
    const newer = signalOf({ generated_at: at("12:04:00"), as_of: at("12:04:00") })
    board = () => {
      live.put("SPY", stateOf({ signal: newer, generatedAt: at("12:04:00"), isCurrent: true, receivedMs: Infinity }))
      return json(200, { ...BOARD, signals: [SIGNAL] })
    }
    asking.askNow()
    await vi.advanceTimersByTimeAsync(1_000)
    expect(boards()).toBe(1)
    expect(live.of("SPY")).toMatchObject({ signal: newer, generatedAt: at("12:04:00") })
  })

  it("begin a while after the connection was lost, since it mostly comes back", async () => {
    lose("lost")
    await vi.advanceTimersByTimeAsync(4_000)
    expect(boards()).toBe(0)
    await vi.advanceTimersByTimeAsync(1_000)
    expect(boards()).toBe(1)
  })

  it("wait as long as the server says after a 429", async () => {
    board = () => json(429, { error_code: "TOO_MANY_REQUESTS", detail: "Too many." }, { "Retry-After": "50" })
    lose("refused")
    await vi.advanceTimersByTimeAsync(49_000)
    asking.askNow()
    expect(boards()).toBe(1)
    expect(live.failure).toMatchObject({ status: 429, retryAfterS: 50 })
    board = () => json(200, { ...BOARD, signals: [SIGNAL] })
    await vi.advanceTimersByTimeAsync(3_000)
    expect(boards()).toBe(2)
    expect(live.failure).toBeNull()
  })

  it("are made where events were found afterwards, as after a restart of the server", async () => {
    live.put("SPY", stateOf({ freshness: "historical" }))
    await vi.advanceTimersByTimeAsync(1_000)
    expect(boards()).toBe(1)
    expect(live.of("SPY")).toMatchObject({ freshness: "live", isCurrent: true })
    await vi.advanceTimersByTimeAsync(60_000)
    expect(boards()).toBe(1)
  })

  it("are made at once after the tab slept", async () => {
    asking.askNow()
    await vi.advanceTimersByTimeAsync(0)
    expect(boards()).toBe(1)
    expect(live.of("SPY").isCurrent).toBe(true)
  })
})

it.each([
  [null, 0, 15_000],
  [{ status: 503, code: "", detail: "", retryAfterS: null, requestId: null }, 1, 30_000],
  [{ status: 503, code: "", detail: "", retryAfterS: 40, requestId: null }, 1, 40_000],
  [{ status: 0, code: "", detail: "", retryAfterS: null, requestId: null }, 9, 120_000],
] as const)("after %o, the pause of failure %s is %s ms", (failure, failures, pauseMs) => {
  expect(pauseAfter(failure, failures, 15_000)).toBe(pauseMs)
})
